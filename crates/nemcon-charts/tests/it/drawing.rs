//! A picture, taken apart.

use nemcon_charts::{HEIGHT_PX, Picture, WIDTH_PX};
use resvg::usvg::roxmltree::{Document, Node};

/// Units of a pixel.
const UNITS: f64 = 10.0;

pub(crate) const BLUE: &str = "#0072B2";
pub(crate) const VERMILION: &str = "#D55E00";

/// Checks what holds of every picture, and shows it to `look`.
pub(crate) fn look<T>(picture: &Picture, look: impl FnOnce(&Document<'_>) -> T) -> T {
    let document = Document::parse(picture.svg()).unwrap();
    let root = document.root_element();
    assert_eq!(root.attribute("width"), Some("1200"));
    assert_eq!(root.attribute("height"), Some("600"));
    let named = |name: &str| {
        root.children()
            .find(|it| it.has_tag_name(name))
            .and_then(|it| it.text())
    };
    assert!(named("title").is_some_and(|it| !it.is_empty()));
    assert!(named("desc").is_some_and(|it| !it.is_empty()));
    for text in texts(&document) {
        assert!(
            (0.0..=f64::from(WIDTH_PX)).contains(&text.x)
                && (0.0..=f64::from(HEIGHT_PX)).contains(&text.y),
            "outside: {text:?}"
        );
    }
    look(&document)
}

/// A text and where it stands, in pixels.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Words {
    pub(crate) text: String,
    pub(crate) x: f64,
    pub(crate) y: f64,
}

pub(crate) fn number(node: &Node<'_, '_>, name: &str) -> f64 {
    node.attribute(name).unwrap().parse().unwrap()
}

/// All texts, in the order of drawing.
pub(crate) fn texts(document: &Document<'_>) -> Vec<Words> {
    let all = document.descendants().filter(|it| it.has_tag_name("text"));
    let words = all.map(|it| Words {
        text: it.text().unwrap_or_default().trim().to_owned(),
        x: number(&it, "x") / UNITS,
        y: number(&it, "y") / UNITS,
    });
    words.collect()
}

/// Whether these words stand somewhere.
pub(crate) fn says(document: &Document<'_>, what: &str) -> bool {
    texts(document).iter().any(|it| it.text == what)
}

/// Elements of a name and colour.
pub(crate) fn count(document: &Document<'_>, name: &str, attribute: &str, value: &str) -> usize {
    let all = document.descendants().filter(|it| it.has_tag_name(name));
    all.filter(|it| it.attribute(attribute) == Some(value))
        .count()
}

/// Points of a PNG that are not white, in parts of all.
pub(crate) fn inked(picture: &Picture) -> f64 {
    let bytes = picture.png(1).unwrap();
    let paper = resvg::tiny_skia::Pixmap::decode_png(&bytes).unwrap();
    assert_eq!((paper.width(), paper.height()), (WIDTH_PX, HEIGHT_PX));
    let points = paper.pixels();
    let inked = points
        .iter()
        .filter(|it| (it.red(), it.green(), it.blue()) != (255, 255, 255));
    inked.count() as f64 / points.len() as f64
}
