//! Draws pixels, and writes them as PNG with a palette.

use std::io::Write;

use flate2::{Compression, Crc, write::ZlibEncoder};

use super::{Colour, Drawing, PALETTE, Shape, WIDTH, glyphs};

/// Pixels of a point of a letter, and points from one letter to the next.
const SCALE: u32 = 2;
const ADVANCE: u32 = 6;

/// Pixels of an image, one byte each, row by row.
struct Canvas {
    height: u32,
    pixels: Vec<u8>,
}

impl Canvas {
    fn new(height: u32) -> Self {
        let size = usize::try_from(WIDTH * height).unwrap_or_default();
        Self {
            height,
            pixels: vec![Colour::Background as u8; size],
        }
    }

    /// Fills a rectangle, as far as it is on the canvas.
    fn fill(&mut self, left: u32, top: u32, width: u32, height: u32, colour: Colour) {
        let right = left.saturating_add(width).min(WIDTH);
        for y in top..top.saturating_add(height).min(self.height) {
            let at = |x: u32| usize::try_from(y * WIDTH + x).unwrap_or_default();
            if let Some(row) = self.pixels.get_mut(at(left.min(right))..at(right)) {
                row.fill(colour as u8);
            }
        }
    }

    fn write(&mut self, x: u32, top: u32, text: &str) {
        for (number, c) in (0..).zip(text.chars()) {
            let left = x + number * ADVANCE * SCALE;
            for (row, bits) in (0..).zip(glyphs::rows_of(c)) {
                for column in 0..glyphs::WIDTH {
                    if (bits >> (glyphs::WIDTH - 1 - column)) & 1 == 1 {
                        let (left, top) = (left + column * SCALE, top + row * SCALE);
                        self.fill(left, top, SCALE, SCALE, Colour::Text);
                    }
                }
            }
        }
    }
}

/// Renders a drawing. Returns `None` if it cannot be compressed; no such case is known.
pub(super) fn render(drawing: &Drawing) -> Option<Vec<u8>> {
    let mut canvas = Canvas::new(drawing.height);
    for shape in &drawing.shapes {
        match shape {
            Shape::Rectangle {
                left,
                top,
                width,
                height,
                colour,
            } => canvas.fill(*left, *top, *width, *height, *colour),
            Shape::Text {
                x,
                top,
                text,
                is_right_aligned,
            } => {
                let count = u32::try_from(text.chars().count()).unwrap_or_default();
                let x = match is_right_aligned {
                    true => x.saturating_sub(count * ADVANCE * SCALE),
                    false => *x,
                };
                canvas.write(x, *top, text);
            }
        }
    }
    encode(&canvas)
}

fn encode(canvas: &Canvas) -> Option<Vec<u8>> {
    let mut header = Vec::new();
    header.extend(WIDTH.to_be_bytes());
    header.extend(canvas.height.to_be_bytes());
    // Eight bits for each pixel, an index of the palette; deflate, no filter method, not interlaced.
    header.extend([8, 3, 0, 0, 0]);
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    let row = usize::try_from(WIDTH).ok()?;
    for pixels in canvas.pixels.chunks(row) {
        // No filter.
        encoder.write_all(&[0]).ok()?;
        encoder.write_all(pixels).ok()?;
    }
    let data = encoder.finish().ok()?;
    let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
    for (name, content) in [
        (b"IHDR", header.as_slice()),
        (b"PLTE", PALETTE.as_flattened()),
        (b"IDAT", data.as_slice()),
        (b"IEND", <&[u8]>::default()),
    ] {
        file.extend(u32::try_from(content.len()).ok()?.to_be_bytes());
        let mut crc = Crc::new();
        crc.update(name);
        crc.update(content);
        file.extend(name);
        file.extend(content);
        file.extend(crc.sum().to_be_bytes());
    }
    Some(file)
}
