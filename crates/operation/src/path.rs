//! Paths of fields, for people to read. They are never parsed back: each name is interpreted when
//! its object is visited.

use std::fmt::{self, Write};

/// Returns the step to a field, to append to the path of its parent.
///
/// The step is `.name`, or `["a.b"]` if the name could be read as more than one step.
pub fn field_step(name: &str) -> String {
    let mut step = String::with_capacity(name.len() + 1);
    // Writing to a string never fails.
    _ = write_step(&mut step, name);
    step
}

/// Returns the path of a field below a parent path, which is empty for the whole document.
pub fn field_path(parent: &str, name: &str) -> String {
    if parent.is_empty() && is_plain_name(name) {
        return name.to_owned();
    }
    let mut path = parent.to_owned();
    _ = write_step(&mut path, name);
    path
}

pub(super) fn write_step(to: &mut dyn Write, name: &str) -> fmt::Result {
    if is_plain_name(name) {
        return write!(to, ".{name}");
    }
    write!(to, "[{}]", serde_json::Value::from(name))
}

fn is_plain_name(name: &str) -> bool {
    let is_path_syntax =
        |c: char| matches!(c, '.' | '[' | ']' | '"' | '\\' | '`') || c.is_control();
    !name.is_empty() && !name.contains(is_path_syntax)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Case {
        parent: &'static str,
        name: &'static str,
        path: &'static str,
    }

    #[test]
    fn different_places_have_different_paths() {
        let cases = [
            Case {
                parent: "",
                name: "a",
                path: "a",
            },
            Case {
                parent: "a",
                name: "b",
                path: "a.b",
            },
            Case {
                parent: "",
                name: "a.b",
                path: r#"["a.b"]"#,
            },
            Case {
                parent: "a",
                name: "b[0]",
                path: r#"a["b[0]"]"#,
            },
            Case {
                parent: "a",
                name: "",
                path: r#"a[""]"#,
            },
            Case {
                parent: "a",
                name: "b\"]",
                path: r#"a["b\"]"]"#,
            },
            Case {
                parent: "a",
                name: "b/c~d e",
                path: "a.b/c~d e",
            },
        ];
        for Case { parent, name, path } in cases {
            assert_eq!(field_path(parent, name), path);
        }
    }
}
