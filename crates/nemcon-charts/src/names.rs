//! Lines with their names at the right, where they end.

use plotters::prelude::RGBColor;

use crate::latency::Frame;
use crate::picture::{self, Area, Drawn, MARGIN, WIDTH_PX, write};
use crate::style::{self, Anchor};

/// The plot leaves room for names at its right.
pub(crate) const PLOT: Frame = Frame {
    left: MARGIN + 64.0,
    top: 108.0,
    right: 1040.0,
    bottom: 516.0,
};

/// Between the middle lines of two names at the right.
const NAME_ROW: f64 = 40.0;

/// A name at the end of a line.
pub(crate) struct Name {
    pub(crate) y: f64,
    pub(crate) text: String,
    pub(crate) below: String,
    pub(crate) colour: RGBColor,
}

/// Names stand where their lines end, moved apart where they would meet.
pub(crate) fn name_lines(area: &Area<'_>, mut names: Vec<Name>) -> Drawn {
    names.sort_by(|one, two| one.y.total_cmp(&two.y));
    let row = NAME_ROW.min((PLOT.bottom - PLOT.top) / names.len().max(1) as f64);
    let mut free = PLOT.top;
    for name in &mut names {
        name.y = name.y.max(free);
        free = name.y + row;
    }
    let mut lowest = PLOT.bottom - row / 4.0;
    for name in names.iter_mut().rev() {
        name.y = name.y.min(lowest);
        lowest = name.y - row;
    }
    let room = f64::from(WIDTH_PX) - PLOT.right - 20.0;
    for name in &names {
        let bold = style::bold(style::TEXT, name.colour, Anchor::Left);
        let small = style::plain(style::TEXT - 1.0, style::GREY, Anchor::Left);
        let text = style::cut(&picture::printable(&name.text), &bold, room);
        write(area, &text, (PLOT.right + 12.0, name.y - 8.0), &bold)?;
        write(area, &name.below, (PLOT.right + 12.0, name.y + 9.0), &small)?;
    }
    Ok(())
}
