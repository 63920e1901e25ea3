//! How things look: colours, weights, sizes of letters.
//!
//! The two strong colours are blue and vermilion of Okabe and Ito's palette, which
//! every kind of colour-blindness tells apart, also in grey.

use std::sync::OnceLock;

use plotters::prelude::{Color, FontFamily, FontStyle, RGBColor, ShapeStyle, TextStyle};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{FontDesc, register_font};

use crate::picture::{DrawError, pixels, px};

/// The font, and what takes its place where somebody looks at the SVG without it.
pub(crate) const FAMILY: &str = "Inter, Helvetica, Arial, sans-serif";

/// The faces that are in the binary.
pub(crate) const REGULAR: &[u8] = include_bytes!("../fonts/Inter-Regular.otf");
pub(crate) const BOLD: &[u8] = include_bytes!("../fonts/Inter-SemiBold.otf");

pub(crate) const PAPER: RGBColor = RGBColor(0xff, 0xff, 0xff);
/// Titles and what matters.
pub(crate) const INK: RGBColor = RGBColor(0x1b, 0x1f, 0x24);
/// Labels and explanations: 5.9 to 1 on paper.
pub(crate) const GREY: RGBColor = RGBColor(0x59, 0x63, 0x6e);
pub(crate) const AXIS: RGBColor = RGBColor(0x9a, 0xa4, 0xae);
pub(crate) const GRID: RGBColor = RGBColor(0xe6, 0xe9, 0xec);
pub(crate) const BLUE: RGBColor = RGBColor(0x00, 0x72, 0xb2);
pub(crate) const VERMILION: RGBColor = RGBColor(0xd5, 0x5e, 0x00);
pub(crate) const BLUISH: RGBColor = RGBColor(0xee, 0xf5, 0xfa);
pub(crate) const REDDISH: RGBColor = RGBColor(0xfd, 0xf1, 0xe8);

/// Colours of further lines, in their order.
pub(crate) const SERIES: [RGBColor; 6] = [
    BLUE,
    VERMILION,
    RGBColor(0x00, 0x9e, 0x73),
    RGBColor(0xcc, 0x79, 0xa7),
    RGBColor(0x8a, 0x6d, 0x00),
    INK,
];

/// Sizes of letters, in pixels.
pub(crate) const TITLE: f64 = 22.0;
pub(crate) const HEADING: f64 = 16.0;
pub(crate) const TEXT: f64 = 13.0;

/// What plotters divides the size of a letter by before it writes it down.
const PLOTTERS_LINE: f64 = 1.24;

/// Where a text stands from the point it is given.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Anchor {
    Left,
    Middle,
    Right,
}

/// Makes the font known to plotters, once in a process: plotters keeps one list for
/// all, and the font never differs.
pub(crate) fn prepare() -> Result<(), DrawError> {
    static KNOWN: OnceLock<bool> = OnceLock::new();
    let known = KNOWN.get_or_init(|| {
        register_font(FAMILY, FontStyle::Normal, REGULAR).is_ok()
            && register_font(FAMILY, FontStyle::Bold, BOLD).is_ok()
    });
    if *known { Ok(()) } else { Err(DrawError::Font) }
}

fn face(size: f64, style: FontStyle) -> FontDesc<'static> {
    let size = f64::from(px(size * PLOTTERS_LINE));
    FontDesc::new(FontFamily::Name(FAMILY), size, style)
}

fn style(size: f64, weight: FontStyle, colour: RGBColor, anchor: Anchor) -> TextStyle<'static> {
    let at = match anchor {
        Anchor::Left => HPos::Left,
        Anchor::Middle => HPos::Center,
        Anchor::Right => HPos::Right,
    };
    let mut style = TextStyle::from(face(size, weight)).pos(Pos::new(at, VPos::Center));
    style.color = colour.to_backend_color();
    style
}

/// Letters whose middle line goes through the point.
pub(crate) fn plain(size: f64, colour: RGBColor, anchor: Anchor) -> TextStyle<'static> {
    style(size, FontStyle::Normal, colour, anchor)
}

/// The same, semi-bold.
pub(crate) fn bold(size: f64, colour: RGBColor, anchor: Anchor) -> TextStyle<'static> {
    style(size, FontStyle::Bold, colour, anchor)
}

/// A line of so many pixels.
pub(crate) fn line(colour: RGBColor, width: f64) -> ShapeStyle {
    colour.stroke_width(u32::try_from(px(width)).unwrap_or(1))
}

/// How wide a text is, in pixels. Without a measure, a guess that is not too small.
pub(crate) fn width_of(text: &str, style: &TextStyle<'_>) -> f64 {
    match style.font.box_size(text) {
        Ok((width, _)) => pixels((i32::try_from(width).unwrap_or(i32::MAX), 0)).0,
        Err(_) => text.chars().count() as f64 * TEXT,
    }
}

/// A text, cut to a width in pixels; what is cut off leaves an ellipsis.
pub(crate) fn cut(text: &str, style: &TextStyle<'_>, width: f64) -> String {
    if width_of(text, style) <= width {
        return text.to_owned();
    }
    let letters: Vec<char> = text.chars().collect();
    let cut_at = |kept: usize| -> String {
        let head = letters[..kept].iter().collect::<String>();
        head.trim_end().to_owned() + "…"
    };
    // The longest that fits, by halves: names can be long.
    let (mut fits, mut too_long) = (0, letters.len());
    while fits + 1 < too_long {
        let middle = fits.midpoint(too_long);
        if width_of(&cut_at(middle), style) <= width {
            fits = middle;
        } else {
            too_long = middle;
        }
    }
    cut_at(fits)
}
