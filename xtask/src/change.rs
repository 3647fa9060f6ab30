//! A change of ours to somebody else's source, by anchor.
//!
//! A change names an exact piece of text, its anchor, which has to occur exactly once in its file.
//! When a new release moves the anchor, applying it fails and says which one: a change is never
//! lost in silence, and never lands in a wrong place.

use anyhow::{Result, bail};
use serde::Deserialize;

/// One change.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Change {
    /// Why the source has to differ here.
    #[serde(rename = "reason")]
    _reason: String,
    /// The text that is replaced.
    pub anchor: String,
    /// The text that takes its place.
    replacement: String,
    /// Whether the anchor is replaced wherever it occurs, once or more often: for conditions that
    /// a crate repeats at every function. Otherwise it occurs exactly once.
    #[serde(default)]
    every: bool,
}

/// Applies changes to the text of a file, in their order.
pub fn apply(changes: &[Change], source: &str) -> Result<String> {
    let mut text = source.to_owned();
    for change in changes {
        match text.matches(&change.anchor).count() {
            1 => {}
            2.. if change.every => {}
            count => {
                let wanted = if change.every { "at least once" } else { "once" };
                bail!(
                    "this anchor occurs {count} times instead of {wanted}:\n{}",
                    change.anchor.trim_end()
                )
            }
        }
        text = text.replace(&change.anchor, &change.replacement);
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(every: bool) -> Change {
        Change {
            _reason: "two is more".into(),
            anchor: "one".into(),
            replacement: "one or two".into(),
            every,
        }
    }

    #[test]
    fn an_anchor_occurs_once_unless_it_says_otherwise() -> Result<()> {
        assert_eq!(apply(&[change(false)], "a one b")?, "a one or two b");
        assert_eq!(apply(&[change(true)], "one one")?, "one or two one or two");
        for (every, source, count) in [
            (false, "one one", "2 times instead of once:\none"),
            (false, "", "0 times instead of once:\none"),
            (true, "", "0 times instead of at least once:\none"),
        ] {
            let error = apply(&[change(every)], source).err().map(|error| error.to_string());
            assert!(error.is_some_and(|error| error.contains(count)), "{source}");
        }
        Ok(())
    }
}
