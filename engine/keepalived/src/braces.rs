//! `{a,b}` in the name of a file to include, as csh and glob's `GLOB_BRACE` expand it.

/// Names that one pattern may stand for; more is a slip of the pen.
const MOST: usize = 1000;
/// The kernel's `PATH_MAX`.
const LONGEST: usize = 4096;

/// Every name that `pattern` stands for, in its order.
///
/// # Errors
///
/// If there are too many, or it is longer than any name.
pub fn expand(pattern: &str) -> Result<Vec<String>, String> {
    if pattern.len() > LONGEST {
        return Err(format!("a name is no longer than {LONGEST} bytes"));
    }
    let mut done = Vec::new();
    // Each still to be looked at from this byte on; the last comes first.
    let mut open = vec![(pattern.to_owned(), 0)];
    while let Some((text, from)) = open.pop() {
        match first(&text, from) {
            None => done.push(text),
            Some((start, parts, end)) => {
                let alternatives = parts.into_iter().rev().map(|part| {
                    let whole = [&text[..start], part, &text[end..]].concat();
                    // What is in the part may have braces, too.
                    (whole, start)
                });
                open.extend(alternatives);
            }
        }
        if open.len() + done.len() > MOST {
            return Err(format!("more than {MOST} files by braces"));
        }
    }
    Ok(done)
}

/// The first pair of braces at or after `from`: where it begins, what is between its commas, where it ends. As in csh, `{}` is a
/// name like any other, and so is a brace without its fellow.
fn first(text: &str, from: usize) -> Option<(usize, Vec<&str>, usize)> {
    let (mut open, mut pair) = (Vec::new(), None::<(usize, usize)>);
    for (at, brace) in braces(text, from) {
        match brace {
            '{' => open.push(at),
            _ => {
                let Some(start) = open.pop() else { continue };
                pair = pair
                    .filter(|(first, _)| *first < start)
                    .or(Some((start, at)));
                if open.is_empty() {
                    break;
                }
            }
        }
    }
    let (start, end) = pair?;
    let inside = &text[start + 1..end];
    let mut nested = braces(inside, 0).peekable();
    let (mut depth, mut begin, mut parts) = (0_usize, 0, Vec::new());
    for (comma, _) in inside.match_indices(',') {
        while let Some((_, brace)) = nested.next_if(|(at, _)| *at < comma) {
            depth = if brace == '{' { depth + 1 } else { depth - 1 };
        }
        if depth == 0 {
            parts.push(&inside[begin..comma]);
            begin = comma + 1;
        }
    }
    parts.push(&inside[begin..]);
    Some((start, parts, end + 1))
}

/// Where braces are, but for those of `{}`.
fn braces(text: &str, from: usize) -> impl Iterator<Item = (usize, char)> {
    let all = text.char_indices().skip_while(move |(at, _)| *at < from);
    let mut after_empty = None;
    let all = all.filter(|(_, c)| matches!(c, '{' | '}'));
    all.filter(move |(at, _)| {
        if text[*at..].starts_with("{}") {
            after_empty = Some(at + 1);
            return false;
        }
        after_empty != Some(*at)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alternatives_stand_in_their_order_and_within_each_other() {
        for (pattern, expected) in [
            ("a.conf", &["a.conf"][..]),
            ("{a,b}.conf", &["a.conf", "b.conf"]),
            ("x{a,,b}{1,2}", &["xa1", "xa2", "x1", "x2", "xb1", "xb2"]),
            (
                "{foo/{,cat,dog},bar}",
                &["foo/", "foo/cat", "foo/dog", "bar"],
            ),
            ("{one}", &["one"]),
            ("{}{a,b}", &["{}a", "{}b"]),
            ("{a,b", &["{a,b"]),
            ("a},{b,c}", &["a},b", "a},c"]),
            ("{{a,b}", &["{a", "{b"]),
        ] {
            assert_eq!(expand(pattern).expect(pattern), expected, "{pattern}");
        }
    }

    #[test]
    fn what_never_ends_is_refused() {
        assert!(expand(&"{a,b}".repeat(30)).is_err());
        assert!(expand(&"{".repeat(5000)).is_err());
        assert!(expand(&"{".repeat(4000)).is_ok());
    }
}
