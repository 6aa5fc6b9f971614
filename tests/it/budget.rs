//! What a model pays for having the tools in view. Run with `--nocapture` it prints the bill by domain.

use std::collections::BTreeMap;

use portkey_mcp::{catalog::Catalog, server};

/// Bytes of the whole list, of the largest tool, and of the one in the middle.
const WHOLE: usize = 150_000;
const LARGEST: usize = 4_000;
const MEDIAN: usize = 650;

#[test]
fn the_list_is_within_its_budget() {
    let catalog = Catalog::full();
    let mut domains: BTreeMap<&str, Vec<(usize, &str)>> = BTreeMap::new();
    for entry in catalog.iter() {
        let size = serde_json::to_string(&server::tool(entry.published())).unwrap().len();
        domains.entry(entry.domain.name).or_default().push((size, entry.operation.name()));
    }
    let whole = domains.values().flatten().copied().collect();
    eprintln!("{:24} {:>5} {:>7} {:>6}  largest", "domain", "tools", "bytes", "median");
    for (domain, sizes) in domains {
        print(domain, &Bill::of(sizes));
    }
    let whole = Bill::of(whole);
    print("all", &whole);
    let (largest, name) = whole.largest;
    assert!(largest <= LARGEST, "{name} takes {largest} bytes");
    assert!(whole.median <= MEDIAN, "the median is {} bytes", whole.median);
    assert!(whole.bytes <= WHOLE, "{} bytes in all", whole.bytes);
}

/// What some tools take, in bytes.
struct Bill<'a> {
    tools: usize,
    bytes: usize,
    median: usize,
    largest: (usize, &'a str),
}

impl<'a> Bill<'a> {
    fn of(mut sizes: Vec<(usize, &'a str)>) -> Self {
        sizes.sort_unstable();
        Self {
            tools: sizes.len(),
            bytes: sizes.iter().map(|(size, _)| size).sum(),
            median: sizes[sizes.len() / 2].0,
            largest: *sizes.last().unwrap(),
        }
    }
}

fn print(domain: &str, bill: &Bill<'_>) {
    let Bill { tools, bytes, median, largest: (size, name) } = bill;
    eprintln!("{domain:24} {tools:>5} {bytes:>7} {median:>6}  {name} {size}");
}
