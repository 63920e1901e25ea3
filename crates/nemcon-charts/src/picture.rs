//! The paper, and what is made of it.

use plotters::coord::Shift;
use plotters::drawing::{DrawingArea, DrawingAreaErrorKind, IntoDrawingArea};
use plotters::element::Text;
use plotters::prelude::SVGBackend;
use plotters::style::TextStyle;
use resvg::{tiny_skia, usvg};

use crate::style::{self, Anchor};

/// Size of every picture.
pub const WIDTH_PX: u32 = 1200;
/// Size of every picture.
pub const HEIGHT_PX: u32 = 600;

/// The most points of a PNG to one pixel, each way: 4800 by 2400, 46 MB while it is
/// drawn.
pub const SCALE_MAX: u32 = 4;

/// plotters knows whole units only. So that curves are smooth, a pixel has ten.
const UNITS: f64 = 10.0;

/// From every edge to what is drawn, in pixels.
pub(crate) const MARGIN: f64 = 40.0;

/// Where charts are drawn, in units.
pub(crate) type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// What drawing ends in.
pub(crate) type Drawn = Result<(), DrawError>;

/// Why there is no picture. None of it comes from the data.
#[derive(Debug, thiserror::Error)]
pub enum DrawError {
    /// The font in this binary is no font.
    #[error("the font in this binary cannot be used: a bug")]
    Font,
    /// The drawing crate failed.
    #[error("the picture cannot be drawn: {0}")]
    Plot(String),
    /// The drawing cannot be made a PNG.
    #[error("the picture cannot be made a PNG: {0}")]
    Png(String),
    /// A PNG of that scale is not made.
    #[error("scale {0} is not between 1 and {SCALE_MAX}")]
    Scale(u32),
}

impl<E: std::error::Error + Send + Sync> From<DrawingAreaErrorKind<E>> for DrawError {
    fn from(error: DrawingAreaErrorKind<E>) -> Self {
        Self::Plot(error.to_string())
    }
}

/// A picture, 1200 by 600 pixels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    svg: String,
}

impl Picture {
    /// As SVG. Its letters are text, in Inter or what the reader's machine has in its
    /// place; a title and a description tell what it shows.
    #[must_use]
    pub fn svg(&self) -> &str {
        &self.svg
    }

    /// As PNG, with `scale` points to a pixel each way, 1 to [`SCALE_MAX`].
    ///
    /// # Errors
    ///
    /// [`DrawError::Scale`], or a bug in what draws.
    pub fn png(&self, scale: u32) -> Result<Vec<u8>, DrawError> {
        if !(1..=SCALE_MAX).contains(&scale) {
            return Err(DrawError::Scale(scale));
        }
        let mut options = usvg::Options::default();
        let fonts = options.fontdb_mut();
        fonts.load_font_data(style::REGULAR.to_vec());
        fonts.load_font_data(style::BOLD.to_vec());
        "Inter".clone_into(&mut options.font_family);
        let tree = usvg::Tree::from_str(&self.svg, &options)
            .map_err(|error| DrawError::Png(error.to_string()))?;
        let (width, height) = (WIDTH_PX * scale, HEIGHT_PX * scale);
        let mut paper = tiny_skia::Pixmap::new(width, height)
            .ok_or_else(|| DrawError::Png(format!("{width} by {height} is no size")))?;
        let scale = scale as f32;
        let transform = tiny_skia::Transform::from_scale(scale, scale);
        resvg::render(&tree, transform, &mut paper.as_mut());
        paper
            .encode_png()
            .map_err(|error| DrawError::Png(error.to_string()))
    }
}

/// Pixels in plotters' units. What is outside of all sense ends at a far edge.
pub(crate) fn px(pixels: f64) -> i32 {
    (pixels * UNITS).round().clamp(-1e8, 1e8) as i32
}

/// A point, in units.
pub(crate) fn at(x: f64, y: f64) -> (i32, i32) {
    (px(x), px(y))
}

/// Units in pixels.
pub(crate) fn pixels((x, y): (i32, i32)) -> (f64, f64) {
    (f64::from(x) / UNITS, f64::from(y) / UNITS)
}

/// Text that an SVG may hold: what XML forbids is shown as a sign in its place.
pub(crate) fn printable(text: &str) -> String {
    let allowed = |letter: char| !letter.is_control() && !matches!(letter, '\u{fffe}' | '\u{ffff}');
    let shown = text.chars();
    shown
        .map(|it| if allowed(it) { it } else { '\u{fffd}' })
        .collect()
}

/// Writes a text, whatever is in it.
pub(crate) fn write(
    area: &Area<'_>,
    text: &str,
    (x, y): (f64, f64),
    style: &TextStyle<'_>,
) -> Drawn {
    area.draw(&Text::new(printable(text), at(x, y), style.clone()))?;
    Ok(())
}

/// Draws a picture: white paper, a title, a line below it, and what `content` adds.
/// `description` is for whoever cannot see it.
pub(crate) fn draw(
    title: &str,
    subtitle: &str,
    description: &str,
    content: impl FnOnce(&Area<'_>) -> Drawn,
) -> Result<Picture, DrawError> {
    style::prepare()?;
    let size = (
        u32::try_from(px(WIDTH_PX.into())).unwrap_or(WIDTH_PX),
        u32::try_from(px(HEIGHT_PX.into())).unwrap_or(HEIGHT_PX),
    );
    let mut drawn = String::new();
    {
        let area = SVGBackend::with_string(&mut drawn, size).into_drawing_area();
        area.fill(&style::PAPER)?;
        let heading = style::bold(style::TITLE, style::INK, Anchor::Left);
        write(&area, title, (MARGIN, 36.0), &heading)?;
        let below = style::plain(style::TEXT + 1.0, style::GREY, Anchor::Left);
        let room = f64::from(WIDTH_PX) - 2.0 * MARGIN;
        let subtitle = style::cut(&printable(subtitle), &below, room);
        write(&area, &subtitle, (MARGIN, 63.0), &below)?;
        content(&area)?;
        area.present()?;
    }
    // plotters writes its own first element; ours has the size in pixels, and what
    // screen readers say.
    let body = drawn.split_once('\n').map_or("", |(_, body)| body);
    let svg = format!(
        "<svg width=\"{WIDTH_PX}\" height=\"{HEIGHT_PX}\" viewBox=\"0 0 {} {}\" role=\"img\" \
         xmlns=\"http://www.w3.org/2000/svg\">\n<title>{}</title>\n<desc>{}</desc>\n{body}",
        size.0,
        size.1,
        escaped(title),
        escaped(description),
    );
    Ok(Picture { svg })
}

/// The middle of a picture.
pub(crate) fn middle() -> (f64, f64) {
    (f64::from(WIDTH_PX) / 2.0, f64::from(HEIGHT_PX) / 2.0)
}

/// Says in the middle of an area, in pixels, why nothing is drawn there.
pub(crate) fn nothing(area: &Area<'_>, (x, y): (f64, f64), why: &str, hint: &str) -> Drawn {
    let large = style::plain(style::HEADING, style::INK, Anchor::Middle);
    let small = style::plain(style::TEXT, style::GREY, Anchor::Middle);
    write(area, why, (x, y - 12.0), &large)?;
    write(area, hint, (x, y + 12.0), &small)
}

fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in printable(text).chars() {
        match letter {
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '&' => safe.push_str("&amp;"),
            other => safe.push(other),
        }
    }
    safe
}
