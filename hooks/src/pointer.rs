//! Where something lies in what a provider sends: a JSON pointer (RFC 6901) in which `*` stands for every element
//! of an array. The fields of a form and of a query are the members of one object.

use std::{fmt, str::FromStr};

use serde::Deserialize;

/// Members and elements on the way to a value, at most.
const STEPS_MAX: usize = 16;
/// Arrays on the way to a value, at most.
pub const STARS_MAX: usize = 4;

/// A place, such as `/entry/*/id`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct Pointer(Vec<Step>);

/// One step of the way.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Step {
    /// A member of an object, or, if it is a number, an element of an array.
    Name(String),
    /// Every element of an array.
    Each,
}

impl Pointer {
    pub fn steps(&self) -> &[Step] {
        &self.0
    }

    /// How many arrays it goes through element by element.
    pub fn stars(&self) -> usize {
        self.0.iter().filter(|step| **step == Step::Each).count()
    }

    /// Up to its last `*` and with it: where its elements lie.
    pub fn up_to_last_star(&self) -> &[Step] {
        let end = self.0.iter().rposition(|step| *step == Step::Each).map_or(0, |last| last + 1);
        self.0.get(..end).unwrap_or_default()
    }
}

impl FromStr for Pointer {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let steps: Vec<Step> = match text.strip_prefix('/') {
            Some(rest) => rest.split('/').map(step).collect::<Result<_, _>>()?,
            None if text.is_empty() => Vec::new(),
            None => return Err(format!("{text:?}: a pointer begins with /")),
        };
        let pointer = Self(steps);
        if pointer.0.len() > STEPS_MAX || pointer.stars() > STARS_MAX {
            return Err(format!("{text:?}: a pointer has {STEPS_MAX} steps and {STARS_MAX} stars at most"));
        }
        Ok(pointer)
    }
}

/// `~1` is `/`, `~0` is `~`; a member that is called `*` is written `~2`, which RFC 6901 leaves free.
fn step(text: &str) -> Result<Step, String> {
    if text == "*" {
        return Ok(Step::Each);
    }
    let mut name = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        name.push(match character {
            '~' => match characters.next() {
                Some('0') => '~',
                Some('1') => '/',
                Some('2') => '*',
                _ => return Err(format!("{text:?}: ~ is followed by 0, 1 or 2")),
            },
            itself => itself,
        });
    }
    Ok(Step::Name(name))
}

impl TryFrom<String> for Pointer {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|step| match step {
            Step::Each => f.write_str("/*"),
            Step::Name(name) if name == "*" => f.write_str("/~2"),
            Step::Name(name) => write!(f, "/{}", name.replace('~', "~0").replace('/', "~1")),
        })
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("", 0)]
    #[case("/a/*/b~1c/~0/~2", 1)]
    #[case("/*/*", 2)]
    #[case("/", 0)]
    fn a_pointer_is_shown_as_it_is_written(#[case] text: &str, #[case] stars: usize) {
        let pointer: Pointer = text.parse().unwrap();
        assert_eq!((pointer.to_string().as_str(), pointer.stars()), (text, stars));
    }

    #[rstest]
    #[case("a/b")]
    #[case("/~3")]
    #[case("/*/*/*/*/*")]
    #[case("/1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/16/17")]
    fn another_spelling_is_refused(#[case] text: &str) {
        assert!(text.parse::<Pointer>().is_err());
    }

    #[test]
    fn the_elements_of_a_pointer_lie_at_its_last_star() {
        let pointer: Pointer = "/entry/*/changes/*/value/id".parse().unwrap();
        assert_eq!(Pointer(pointer.up_to_last_star().to_vec()).to_string(), "/entry/*/changes/*");
    }
}
