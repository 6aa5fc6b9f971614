//! Names in Terraform, each of one thing.

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest, Sha256};

/// Number of characters of the digest in a name that two things would have.
const DIGEST_CHARS: usize = 6;

/// Names that were given to things.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// What has a name, by its address.
    given: BTreeMap<String, String>,
    /// Addresses that several things would have. None of them gets it: it would go from one to another
    /// once a further thing is there.
    doubles: BTreeSet<String>,
}

impl Names {
    /// Returns true if several things would have the same name.
    pub(super) fn has_doubles(&self) -> bool {
        !self.doubles.is_empty()
    }

    /// Returns the names of a further pass, which knows the doubles from its beginning.
    pub(super) fn into_next_pass(self) -> Self {
        Self {
            given: BTreeMap::new(),
            doubles: self.doubles,
        }
    }

    /// Returns the name for a thing of a type: the wanted one, or that with a digest if another thing has
    /// or would have it.
    pub(super) fn give(&mut self, kind: &str, wanted: String, thing: &str) -> String {
        let address = format!("{kind}.{wanted}");
        if !self.doubles.contains(&address) {
            match self.given.get(&address) {
                None => {
                    self.given.insert(address, thing.to_owned());
                    return wanted;
                }
                Some(given) if given == thing => return wanted,
                Some(_) => {
                    self.doubles.insert(address);
                }
            }
        }
        add_digest(&wanted, thing)
    }
}

/// Returns a name with a digest of what has it.
pub(super) fn add_digest(name: &str, thing: &str) -> String {
    let digest = hex::encode(Sha256::digest(thing.as_bytes()));
    format!("{name}_{}", digest.get(..DIGEST_CHARS).unwrap_or_default())
}

/// Returns a text as a name in Terraform.
pub(super) fn identifier(text: &str) -> String {
    let mut name: String = text
        .chars()
        .map(|c| match c {
            c if c.is_ascii_alphanumeric() => c.to_ascii_lowercase(),
            _ => '_',
        })
        .collect();
    if !name.starts_with(|c: char| c.is_ascii_alphabetic()) {
        name.insert(0, '_');
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn things_of_one_name_all_have_a_digest_in_the_next_pass() {
        let things = ["gpt-4.1", "gpt-4-1", "gpt-4o"];
        let mut names = Names::default();
        let give_all = |names: &mut Names| {
            things.map(|thing| names.give("portkey_model", identifier(thing), thing))
        };
        let [first, second, other] = give_all(&mut names);
        assert_eq!((first.as_str(), other.as_str()), ("gpt_4_1", "gpt_4o"));
        assert_ne!(first, second);
        assert!(names.has_doubles());
        let mut names = names.into_next_pass();
        let [first, again, other] = give_all(&mut names);
        assert_eq!((again, other.as_str()), (second.clone(), "gpt_4o"));
        assert!(first.starts_with("gpt_4_1_") && first != second, "{first}");
        // Types have names of their own, and a thing keeps its name.
        for _ in 0..2 {
            let name = names.give("portkey_other", identifier("gpt-4.1"), "gpt-4.1");
            assert_eq!(name, "gpt_4_1");
        }
    }
}
