//! From the path of a field, like `service[2].server[0].weight`, to its place in the file.

use std::ops::Range;

use toml::Spanned;
use toml::de::DeValue;

use crate::Document;

/// Where the value at `path` stands; for one that is not written down, the nearest table or list around it.
pub fn locate(document: &Document<'_>, path: &str) -> Range<usize> {
    let mut span = document.span();
    let mut table = Some(document.get_ref());
    for step in path.split('.') {
        let (key, positions) = step.split_once('[').unwrap_or((step, ""));
        let Some(mut value) = table.and_then(|t| t.get(key)) else {
            break;
        };
        for position in positions.split('[').filter(|p| !p.is_empty()) {
            match item(value, position) {
                Some(item) => value = item,
                None => return value.span(),
            }
        }
        span = value.span();
        table = value.get_ref().as_table();
    }
    span
}

/// The item at `position`, written `2]`.
fn item<'v, 'd>(
    list: &'v Spanned<DeValue<'d>>,
    position: &str,
) -> Option<&'v Spanned<DeValue<'d>>> {
    let position: usize = position.strip_suffix(']')?.parse().ok()?;
    list.get_ref().as_array()?.get(position)
}

#[cfg(test)]
mod tests {
    use toml::de::DeTable;

    use super::*;

    #[test]
    fn a_path_leads_to_its_value_or_as_near_as_there_is() {
        let text = "[engine]\ninterfaces = [\"a\", \"b\"]\n[[service]]\nvip = 1\n[[service.server]]\nrip = 2\n";
        let document = DeTable::parse(text).expect("TOML");
        let cases = [
            ("engine.interfaces[1]", "\"b\""),
            ("engine.interfaces[7]", "[\"a\", \"b\"]"),
            ("engine.capacity", "[engine]"),
            ("service[0].vip", "1"),
            ("service[0].server[0].rip", "2"),
            ("service[0].server[0].weight", "[[service.server]]"),
            ("service[0].vip.x.y", "1"),
            ("", ""),
            ("nothing[", ""),
            ("engine.interfaces[", "[\"a\", \"b\"]"),
        ];
        for (path, found) in cases {
            assert_eq!(&text[locate(&document, path)], found, "{path}");
        }
    }
}
