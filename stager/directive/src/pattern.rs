//! Patterns of `include=` and `exclude=`.

/// Whether `path` (relative, `/`-separated) matches `pattern`: `?` is one character and `*` any number of characters
/// other than `/`; `**` is any number of characters. A pattern without `/` is matched against the last component
/// alone, so `*.jpg` finds pictures in every directory.
#[must_use]
pub fn matches(pattern: &str, path: &str) -> bool {
    let path = match pattern.contains('/') {
        true => path,
        false => path.rsplit('/').next().unwrap_or(path),
    };
    let path: Vec<char> = path.chars().collect();
    // reached[i]: the pattern read so far matches the first i characters of the path.
    let mut reached = vec![false; path.len() + 1];
    reached[0] = true;
    let mut rest = pattern;
    while let Some(c) = rest.chars().next() {
        let deep = rest.starts_with("**");
        rest = &rest[if deep { 2 } else { c.len_utf8() }..];
        if c == '*' {
            for i in 0..path.len() {
                reached[i + 1] |= reached[i] && (deep || path[i] != '/');
            }
            continue;
        }
        for i in (0..path.len()).rev() {
            reached[i + 1] = reached[i] && if c == '?' { path[i] != '/' } else { path[i] == c };
        }
        reached[0] = false;
    }
    reached[path.len()]
}

#[cfg(test)]
#[path = "pattern_tests.rs"]
mod tests;
