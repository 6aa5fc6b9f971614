//! Writes drawings as SVG.

use std::fmt::Write;

use super::{Drawing, PALETTE, Shape, WIDTH};

/// Renders a drawing. Its texts use the sans-serif font of the viewer.
pub(super) fn render(drawing: &Drawing) -> String {
    let Drawing {
        height,
        title,
        shapes,
    } = drawing;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" \
         role=\"img\" font-family=\"sans-serif\" font-size=\"15\"><title>{}</title>\
         <rect width=\"100%\" height=\"100%\" fill=\"{}\"/>",
        escape(title),
        hex(PALETTE[0])
    );
    for shape in shapes {
        // Writing to a text cannot fail.
        _ = match shape {
            Shape::Rectangle {
                left,
                top,
                width,
                height,
                colour,
            } => {
                let colour = PALETTE.get(*colour as usize).copied().unwrap_or_default();
                write!(
                    svg,
                    "<rect x=\"{left}\" y=\"{top}\" width=\"{width}\" height=\"{height}\" fill=\"{}\"/>",
                    hex(colour)
                )
            }
            Shape::Text {
                x,
                top,
                text,
                is_right_aligned,
            } => {
                let anchor = match is_right_aligned {
                    true => " text-anchor=\"end\"",
                    false => "",
                };
                let [_, colour, ..] = PALETTE;
                write!(
                    svg,
                    "<text x=\"{x}\" y=\"{}\"{anchor} fill=\"{}\">{}</text>",
                    top + 13,
                    hex(colour),
                    escape(text)
                )
            }
        };
    }
    svg.push_str("</svg>");
    svg
}

fn hex([red, green, blue]: [u8; 3]) -> String {
    format!("#{red:02x}{green:02x}{blue:02x}")
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            // XML has no control characters.
            c if c.is_control() => escaped.push(' '),
            c => escaped.push(c),
        }
    }
    escaped
}
