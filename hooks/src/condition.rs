//! What has to hold of an item, or of what is around it.

use serde::Deserialize;

use crate::{
    pointer::Pointer,
    walk::{Found, FoundItem, Places, Slot},
};

/// A condition as a description writes it: a place, and one or more of what may be asked of it. All have to hold.
///
/// ```toml
/// { at = "/type", is = ["text", "image"] }
/// ```
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Condition {
    pub at: Pointer,
    /// It is there and one of these; `true`, `false` and numbers are written as strings.
    pub is: Option<Vec<String>>,
    /// It is there and none of these: what has another shape than expected is not passed over.
    pub is_not: Option<Vec<String>>,
    /// It is there and more than `null`, or not.
    pub present: Option<bool>,
    /// It is there and ends with one of these.
    pub ends_with: Option<Vec<String>>,
}

/// A condition that knows its place.
#[derive(Debug)]
pub struct Check {
    slot: Slot,
    stars: usize,
    condition: Condition,
}

impl Condition {
    /// # Errors
    /// It asks nothing.
    pub(crate) fn compile(&self, places: &mut Places) -> Result<Check, String> {
        let Self { at, is, is_not, present, ends_with } = self;
        if is.is_none() && is_not.is_none() && present.is_none() && ends_with.is_none() {
            return Err(format!("{at}: a condition needs one of is, is_not, present and ends_with"));
        }
        Ok(Check { slot: places.slot(at), stars: at.stars(), condition: self.clone() })
    }
}

impl Check {
    pub fn holds(&self, found: &Found<'_>, item: FoundItem) -> bool {
        let value = found.value(self.slot, self.stars, item);
        let word = value.and_then(|value| value.word());
        let is_among = |list: &[String]| word.as_deref().is_some_and(|word| list.iter().any(|it| it == word));
        let Condition { is, is_not, present, ends_with, .. } = &self.condition;
        is.as_deref().is_none_or(is_among)
            && is_not.as_deref().is_none_or(|list| word.is_some() && !is_among(list))
            && present.is_none_or(|asked| value.is_some_and(|value| value.is_present()) == asked)
            && ends_with.as_deref().is_none_or(|ends| {
                word.as_deref().is_some_and(|word| ends.iter().any(|end| word.ends_with(end.as_str())))
            })
    }
}
