//! Charts of reports: bars of two periods, as SVG or PNG, without a font or a drawing library.
//!
//! Both forms draw the same shapes. Texts of the PNG have letters of 5 by 7 points of their own.

mod glyphs;
mod png;
mod svg;

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};

/// Width of a chart in pixels. The height depends on the number of bars.
const WIDTH: u32 = 960;
/// Height of a row, and of its bars.
const ROW_HEIGHT: u32 = 40;
const BAR_HEIGHT: u32 = 16;
const PREVIOUS_HEIGHT: u32 = 8;
/// Space above the first row, below the last, and at the sides.
const TOP: u32 = 84;
const MARGIN: u32 = 16;
/// Left end of the bars, and maximum length of one.
const BARS_LEFT: u32 = 316;
const MAX_BAR_LENGTH: u32 = 500;
/// Maximum number of bars.
pub(super) const MAX_BARS: usize = 11;
/// Maximum length of the name of a bar and of a title, in characters.
const MAX_NAME_CHARS: usize = 24;
const MAX_TITLE_CHARS: usize = 76;

/// A form of a chart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ChartFormat {
    Png,
    Svg,
}

/// A bar of a chart.
#[derive(Clone, Debug)]
pub(super) struct Bar {
    pub(super) name: String,
    pub(super) current: f64,
    /// Amount of the period before, if it is known.
    pub(super) previous: Option<f64>,
}

/// Bars of amounts, the largest first.
#[derive(Clone, Debug)]
pub(super) struct BarChart {
    pub(super) title: String,
    pub(super) bars: Vec<Bar>,
}

/// Colours of a chart; each is an index of the palette.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Colour {
    Background,
    Text,
    Current,
    Previous,
}

/// Colours by index, as red, green and blue. Dark on light, and told apart in grey as well.
const PALETTE: [[u8; 3]; 4] = [
    [0xff, 0xff, 0xff],
    [0x1f, 0x29, 0x37],
    [0x1d, 0x4e, 0xd8],
    [0x9c, 0xa3, 0xaf],
];

/// A part of a drawing.
#[derive(Clone, Debug)]
enum Shape {
    Rectangle {
        left: u32,
        top: u32,
        width: u32,
        height: u32,
        colour: Colour,
    },
    /// Text from or up to a place.
    Text {
        x: u32,
        top: u32,
        text: String,
        is_right_aligned: bool,
    },
}

/// The shapes of a chart.
struct Drawing {
    height: u32,
    title: String,
    shapes: Vec<Shape>,
}

impl BarChart {
    /// Renders the chart as data for an answer.
    pub(super) fn to_json(&self, format: ChartFormat) -> Option<Value> {
        let drawing = self.draw();
        let Drawing { height, .. } = drawing;
        Some(match format {
            ChartFormat::Svg => {
                json!({ "mime_type": "image/svg+xml", "width": WIDTH, "height": height,
                "svg": svg::render(&drawing) })
            }
            ChartFormat::Png => json!({ "mime_type": "image/png", "width": WIDTH, "height": height,
                "data": BASE64_STANDARD.encode(png::render(&drawing)?) }),
        })
    }

    fn draw(&self) -> Drawing {
        let bars = self.bars.iter().take(MAX_BARS);
        let most = bars
            .clone()
            .flat_map(|bar| [bar.current, bar.previous.unwrap_or_default()])
            .fold(0.0, f64::max);
        let mut shapes = vec![
            label(MARGIN, MARGIN, &shorten(&self.title, MAX_TITLE_CHARS)),
            rectangle(MARGIN, 50, 12, 12, Colour::Current),
            label(MARGIN + 20, 49, "this period"),
            rectangle(MARGIN + 200, 50, 12, 12, Colour::Previous),
            label(MARGIN + 220, 49, "the period before"),
        ];
        let mut top = TOP;
        for bar in bars {
            let length = scale(bar.current, most);
            shapes.push(Shape::Text {
                x: BARS_LEFT - 12,
                top: top + 1,
                text: shorten(&bar.name, MAX_NAME_CHARS),
                is_right_aligned: true,
            });
            shapes.push(rectangle(
                BARS_LEFT,
                top,
                length,
                BAR_HEIGHT,
                Colour::Current,
            ));
            if let Some(previous) = bar.previous {
                let length = scale(previous, most);
                shapes.push(rectangle(
                    BARS_LEFT,
                    top + BAR_HEIGHT + 2,
                    length,
                    PREVIOUS_HEIGHT,
                    Colour::Previous,
                ));
            }
            shapes.push(label(
                BARS_LEFT + length + 8,
                top + 1,
                &format!("{:.2}", bar.current),
            ));
            top += ROW_HEIGHT;
        }
        Drawing {
            height: top + MARGIN,
            title: self.title.clone(),
            shapes,
        }
    }
}

/// Returns the length of a bar.
fn scale(amount: f64, most: f64) -> u32 {
    if most <= 0.0 {
        return 0;
    }
    // A cast saturates, and makes NaN zero.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "saturates"
    )]
    let length = (amount.max(0.0) / most * f64::from(MAX_BAR_LENGTH)).round() as u32;
    length.min(MAX_BAR_LENGTH)
}

const fn rectangle(left: u32, top: u32, width: u32, height: u32, colour: Colour) -> Shape {
    Shape::Rectangle {
        left,
        top,
        width,
        height,
        colour,
    }
}

fn label(x: u32, top: u32, text: &str) -> Shape {
    Shape::Text {
        x,
        top,
        text: text.to_owned(),
        is_right_aligned: false,
    }
}

fn shorten(text: &str, max: usize) -> String {
    match text.chars().count() > max {
        true => text.chars().take(max - 2).chain("..".chars()).collect(),
        false => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn chart(count: usize) -> BarChart {
        let bar = |number: usize| Bar {
            name: format!("group <{number}> & Ü"),
            current: 100.0 / (number as f64 + 1.0),
            previous: Some(50.0),
        };
        BarChart {
            title: "Cost in USD".to_owned(),
            bars: (0..count).map(bar).collect(),
        }
    }

    #[test]
    fn svg_is_escaped_and_bounded() {
        let chart = chart(100).to_json(ChartFormat::Svg).unwrap();
        let svg = chart["svg"].as_str().unwrap();
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>"), "{svg}");
        assert!(svg.contains("group &lt;0&gt; &amp; Ü"), "{svg}");
        assert!(!svg.contains("group &lt;11&gt;"), "{svg}");
        assert!(svg.len() < 8_000, "{}", svg.len());
    }

    #[test]
    fn png_has_its_chunks_and_is_bounded() {
        let chart = chart(100).to_json(ChartFormat::Png).unwrap();
        let data = BASE64_STANDARD
            .decode(chart["data"].as_str().unwrap())
            .unwrap();
        assert_eq!(data.get(..8).unwrap(), b"\x89PNG\r\n\x1a\n");
        assert_eq!(data.get(12..16).unwrap(), b"IHDR");
        let size =
            |at: usize| u32::from_be_bytes(data.get(at..at + 4).unwrap().try_into().unwrap());
        assert_eq!(
            (size(16), size(20)),
            (WIDTH, TOP + 11 * ROW_HEIGHT + MARGIN)
        );
        assert!(data.ends_with(b"IEND\xae\x42\x60\x82"));
        assert!(data.len() < 16_000, "{}", data.len());
    }

    #[test]
    fn amounts_are_scaled_to_the_largest() {
        assert_eq!(scale(5.0, 10.0), MAX_BAR_LENGTH / 2);
        assert_eq!(
            (scale(5.0, 0.0), scale(-1.0, 10.0), scale(f64::NAN, 10.0)),
            (0, 0, 0)
        );
    }
}
