//! A line cut into words.

use std::iter::Peekable;
use std::str::Chars;

/// A piece of a line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Token {
    /// Its quotes are off, its escapes replaced.
    Word(String),
    /// `{`
    Open,
    /// `}`
    Close,
}

/// The pieces of `line`; an error if a quote is not closed.
pub fn cut(line: &str) -> Result<Vec<Token>, &'static str> {
    let mut tokens = Vec::new();
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.peek().copied() {
        match c {
            c if c.is_whitespace() => drop(chars.next()),
            '{' => {
                chars.next();
                tokens.push(Token::Open);
            }
            '}' => {
                chars.next();
                tokens.push(Token::Close);
            }
            _ => word(&mut chars, &mut tokens)?,
        }
    }
    Ok(tokens)
}

/// One word, and the brace that ends it if it has no space before it.
fn word(chars: &mut Peekable<Chars<'_>>, tokens: &mut Vec<Token>) -> Result<(), &'static str> {
    let mut word = String::new();
    let mut quote = None;
    let mut opens = false;
    while let Some(c) = chars.peek().copied() {
        match (quote, c) {
            (None, c) if c.is_whitespace() => break,
            (None, '"' | '\'') => quote = Some(c),
            (Some(open), c) if open == c => quote = None,
            (Some(_), '\\') => {
                chars.next();
                word.push(escaped(chars));
                continue;
            }
            (None, '{') if !word.ends_with('$') => {
                let mut ahead = chars.clone();
                ahead.next();
                if ahead.next().is_none_or(char::is_whitespace) {
                    chars.next();
                    opens = true;
                    break;
                }
                word.push(c);
            }
            _ => word.push(c),
        }
        chars.next();
    }
    if quote.is_some() {
        return Err("a quote is not closed");
    }
    tokens.push(Token::Word(word));
    if opens {
        tokens.push(Token::Open);
    }
    Ok(())
}

/// What stands for the characters after a backslash, as in a shell.
fn escaped(chars: &mut Peekable<Chars<'_>>) -> char {
    let Some(c) = chars.next() else {
        return '\\';
    };
    match c {
        'a' => '\x07',
        'b' => '\x08',
        'E' => '\x1b',
        'f' => '\x0c',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\x0b',
        'c' => chars.next().map_or('c', |c| char::from(c as u8 & 0x1f)),
        'x' => code(chars, 16, 2, 0),
        '0'..='7' => code(chars, 8, 2, c.to_digit(8).unwrap_or(0)),
        other => other,
    }
}

fn code(chars: &mut Peekable<Chars<'_>>, radix: u32, most: usize, start: u32) -> char {
    let mut code = start;
    for _ in 0..most {
        let Some(digit) = chars.peek().and_then(|c| c.to_digit(radix)) else {
            break;
        };
        chars.next();
        code = code * radix + digit;
    }
    char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(line: &str) -> String {
        let tokens = cut(line).expect("closed quotes");
        let shown = tokens.iter().map(|token| match token {
            Token::Word(word) => format!("<{word}>"),
            Token::Open => "{".into(),
            Token::Close => "}".into(),
        });
        shown.collect()
    }

    #[test]
    fn words_are_cut_as_keepalived_cuts_them() {
        for (line, words) in [
            ("a  b\tc", "<a><b><c>"),
            ("abcd\" efg h jkl \"mnop", "<abcd efg h jkl mnop>"),
            ("abcd \"efg h jkl\" mnop", "<abcd><efg h jkl><mnop>"),
            ("x 'a \"b\" c'", "<x><a \"b\" c>"),
            ("url { path /a{b} }", "<url>{<path></a{b}>}"),
            ("real_server 10.0.0.1 80{", "<real_server><10.0.0.1><80>{"),
            ("x ${Y} ${Z}", "<x><${Y}><${Z}>"),
            (r#"x "a\"b\\\n\x41\101\cB""#, "<x><a\"b\\\nAA\u{2}>"),
            ("regex ^\\d+$", "<regex><^\\d+$>"),
            ("}", "}"),
        ] {
            assert_eq!(shown(line), words, "{line}");
        }
        assert!(cut("a \"b").is_err());
    }
}
