//! Finds in JSON what the pointers of a description point to, in one pass over the text. Nothing else is made of
//! it: what no pointer names costs no memory, however large or deep it is.
//!
//! An element of an array on the way to the items is remembered with its place in the text, so that a document can
//! be cut down to one item ([`Found::cut`]).

use std::{borrow::Cow, collections::HashMap};

use schemas::scan::{Fault, Scanner};

use crate::pointer::{Pointer, STARS_MAX, Step};

/// Items of a request, at most.
pub const ITEMS_MAX: usize = 1_000;
/// Elements of the arrays on the way to the items, at most, the items among them.
pub const ELEMENTS_MAX: usize = 4_000;
/// Values that pointers point to, at most.
pub const FOUND_MAX: usize = 32_000;

/// Of a text so many bytes are looked at: the longest that a message may have has fewer, escapes included.
pub const TEXT_BYTES_MAX: usize = 256 * 1024;
/// Of any other value; the longest id has fewer.
pub const WORD_BYTES_MAX: usize = 4 * 1024;

/// The number of a pointer among those of a hook.
pub type Slot = usize;

/// Why nothing is found in a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Lost {
    #[error("it is not JSON in UTF-8")]
    Syntax,
    #[error("arrays and objects are nested more than {} deep", schemas::DEPTH_MAX)]
    TooDeep,
    #[error("it holds more than is read from one request")]
    TooMuch,
    #[error("a member that the hook reads appears twice in one object")]
    Twice,
}

impl From<Fault> for Lost {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Syntax => Self::Syntax,
            Fault::TooDeep => Self::TooDeep,
        }
    }
}

/// Where the pointers of a hook part: its root is node 0.
#[derive(Debug, Default)]
pub struct Places {
    nodes: Vec<Node>,
    slots: Vec<Pointer>,
}

#[derive(Debug, Default)]
struct Node {
    next: Vec<(Step, usize)>,
    slot: Option<Slot>,
    /// An element of this array is an item.
    is_item: bool,
}

impl Places {
    /// For items at this place. Without one, the document is the item.
    pub fn new(items: Option<&Pointer>) -> Self {
        let mut places = Self { nodes: vec![Node::default()], slots: Vec::new() };
        let node = items.map_or(0, |items| places.reach(items.steps()));
        if let Some(node) = places.nodes.get_mut(node) {
            node.is_item = true;
        }
        places
    }

    /// Points to one more place; the same slot for the same place.
    pub fn slot(&mut self, pointer: &Pointer) -> Slot {
        let reached = self.reach(pointer.steps());
        let next = self.slots.len();
        let Some(node) = self.nodes.get_mut(reached) else { return next };
        let slot = *node.slot.get_or_insert(next);
        if slot == next {
            self.slots.push(pointer.clone());
        }
        slot
    }

    /// How many places there are.
    pub const fn slots(&self) -> usize {
        self.slots.len()
    }

    fn reach(&mut self, steps: &[Step]) -> usize {
        let mut at = 0;
        for step in steps {
            let after = self.next(at, |known| known == step);
            at = after.unwrap_or_else(|| {
                self.nodes.push(Node::default());
                let made = self.nodes.len() - 1;
                if let Some(node) = self.nodes.get_mut(at) {
                    node.next.push((step.clone(), made));
                }
                made
            });
        }
        at
    }

    fn next(&self, node: usize, is: impl Fn(&Step) -> bool) -> Option<usize> {
        self.nodes.get(node)?.next.iter().find(|(step, _)| is(step)).map(|(_, node)| *node)
    }

    fn named(&self, node: usize, name: &str) -> Option<usize> {
        self.next(node, |step| matches!(step, Step::Name(known) if known == name))
    }

    fn element(&self, node: usize, index: usize) -> Option<usize> {
        let by_index = || index_text(index).and_then(|text| self.named(node, &text));
        self.next(node, |step| *step == Step::Each).or_else(by_index)
    }

    /// Whether a place names an element by its number beside those that mean each.
    pub fn is_ambiguous(&self) -> bool {
        let is_each = |(step, _): &(Step, usize)| *step == Step::Each;
        self.nodes.iter().any(|node| node.next.len() > 1 && node.next.iter().any(is_each))
    }

    fn leads_on(&self, node: usize) -> bool {
        self.nodes.get(node).is_some_and(|node| !node.next.is_empty())
    }
}

/// Only the first few elements of an array can be named by their number.
fn index_text(index: usize) -> Option<String> {
    (index < 100).then(|| index.to_string())
}

/// Which element of each array on the way to a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Context {
    elements: [u32; STARS_MAX],
    depth: usize,
}

impl Context {
    /// Of the outermost arrays only.
    fn outer(mut self, depth: usize) -> Self {
        self.elements.iter_mut().skip(depth).for_each(|element| *element = 0);
        self.depth = self.depth.min(depth);
        self
    }

    fn inner(mut self, element: u32) -> Self {
        if let Some(place) = self.elements.get_mut(self.depth) {
            *place = element;
            self.depth += 1;
        }
        self
    }
}

/// A value that a pointer points to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value<'a> {
    /// As JSON has it.
    Json(&'a str),
    /// Of a form or a query: text that needs no reading.
    Text(Cow<'a, str>),
}

impl Value<'_> {
    /// What it says: a string without quotes and escapes, a number as it is written, to the last digit. Nothing
    /// for `null`, `true`, `false`, an array and an object.
    ///
    /// Of one with more than `bytes_max`, the beginning: what is around the items is looked at once for each.
    pub fn text(&self, bytes_max: usize) -> Option<Cow<'_, str>> {
        let beginning = |text| beginning(text, bytes_max);
        match self {
            Self::Text(text) => Some(Cow::Borrowed(beginning(text))),
            Self::Json(json) => match json.as_bytes().first() {
                Some(b'"') => {
                    let text = json.get(1..json.len().saturating_sub(1))?;
                    Some(schemas::unescape(whole_escapes(beginning(text), text)).0)
                }
                Some(b'-' | b'0'..=b'9') => Some(Cow::Borrowed(beginning(json))),
                _ => None,
            },
        }
    }

    /// What a condition compares: the text, or `true` and `false`. What is too long for a word is none.
    pub fn word(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Json(json @ ("true" | "false")) => Some(Cow::Borrowed(json)),
            Self::Json(text) if text.len() > WORD_BYTES_MAX => None,
            Self::Text(text) if text.len() > WORD_BYTES_MAX => None,
            value => value.text(WORD_BYTES_MAX),
        }
    }

    /// Whether there is more than `null`.
    pub fn is_present(&self) -> bool {
        *self != Self::Json("null")
    }
}

fn beginning(text: &str, bytes_max: usize) -> &str {
    text.get(..text.floor_char_boundary(bytes_max)).unwrap_or(text)
}

/// The beginning of a JSON string without the escape that it may end within.
fn whole_escapes<'a>(beginning: &'a str, text: &str) -> &'a str {
    /// Of two units that are one character.
    const ESCAPE_BYTES_MAX: usize = 12;
    if beginning.len() == text.len() {
        return beginning;
    }
    let last = beginning.floor_char_boundary(beginning.len().saturating_sub(ESCAPE_BYTES_MAX));
    let escape = beginning.get(last..).and_then(|end| end.find('\\'));
    escape.and_then(|at| beginning.get(..last + at)).unwrap_or(beginning)
}

/// What was found.
#[derive(Debug, Default)]
pub struct Found<'a> {
    values: HashMap<(Slot, Context), Value<'a>>,
    items: Vec<FoundItem>,
    arrays: Vec<Array>,
    elements: Vec<Element>,
    has_no_list: bool,
}

/// One item of a document.
#[derive(Debug, Clone, Copy)]
pub struct FoundItem {
    context: Context,
    /// Its element; none for a document that is the item.
    element: Option<usize>,
}

/// Where an array on the way to the items begins and ends, brackets excluded.
#[derive(Debug)]
struct Array {
    from: usize,
    to: usize,
    /// The element in which it lies.
    around: Option<usize>,
}

#[derive(Debug)]
struct Element {
    array: usize,
    from: usize,
    to: usize,
}

impl<'a> Found<'a> {
    /// In a JSON text.
    ///
    /// # Errors
    /// It is not JSON, or there is too much in it.
    pub fn in_json(places: &Places, text: &'a str) -> Result<Self, Lost> {
        let mut found = Self::default();
        found.read_json(places, 0, text)?;
        Ok(found)
    }

    /// Reads a JSON text that stands at a place.
    fn read_json(&mut self, places: &Places, node: usize, text: &'a str) -> Result<(), Lost> {
        let mut walk = Walk { places, scanner: Scanner::new(text), found: self };
        walk.scanner.skip_space();
        walk.value(Place { node, context: Context::default(), element: None, depth: 0 })?;
        walk.scanner.skip_space();
        if walk.scanner.peek().is_none() { Ok(()) } else { Err(Lost::Syntax) }
    }

    /// In the fields of a form or a query; `json` are those whose text is JSON. Of a field that is there
    /// twice, the first counts.
    ///
    /// # Errors
    /// A field that has to be JSON is not.
    pub fn in_fields(
        places: &Places,
        fields: &'a [(Cow<'a, str>, Cow<'a, str>)],
        json: &[String],
    ) -> Result<Self, Lost> {
        let (mut found, mut seen) = (Self::default(), Vec::new());
        for (name, text) in fields {
            let Some(node) = places.named(0, name).filter(|node| !seen.contains(node)) else { continue };
            seen.push(node);
            if json.iter().any(|field| field == name) {
                found.read_json(places, node, text)?;
            } else if let Some(slot) = places.nodes.get(node).and_then(|node| node.slot) {
                found.values.insert((slot, Context::default()), Value::Text(Cow::Borrowed(text)));
            }
        }
        if places.nodes.first().is_some_and(|root| root.is_item) {
            found.items = vec![FoundItem { context: Context::default(), element: None }];
        }
        Ok(found)
    }

    /// Whether something else stands where a list has to be, on the way to the items.
    pub const fn has_no_list(&self) -> bool {
        self.has_no_list
    }

    pub fn items(&self) -> &[FoundItem] {
        &self.items
    }

    /// What a slot with this many stars holds for an item: its own, or that of the level around it.
    pub fn value(&self, slot: Slot, stars: usize, item: FoundItem) -> Option<&Value<'a>> {
        self.values.get(&(slot, item.context.outer(stars)))
    }

    /// The document without the other items: what is around the item, and what is around that.
    pub fn cut(&self, document: &str, item: FoundItem) -> String {
        let (mut before, mut after) = (Vec::new(), Vec::new());
        let mut inner: Option<(usize, usize)> = None;
        let mut at = item.element.and_then(|element| self.elements.get(element));
        let text = |from: usize, to: usize| document.get(from..to).unwrap_or_default();
        while let Some(element) = at {
            match inner {
                None => before.push(text(element.from, element.to)),
                Some((from, to)) => {
                    before.push(text(element.from, from));
                    after.push(text(to, element.to));
                }
            }
            let Some(array) = self.arrays.get(element.array) else { break };
            inner = Some((array.from, array.to));
            at = array.around.and_then(|around| self.elements.get(around));
        }
        match inner {
            None => before.push(document),
            Some((from, to)) => {
                before.push(text(0, from));
                after.push(text(to, document.len()));
            }
        }
        before.reverse();
        before.concat() + &after.concat()
    }

    fn keep(&mut self, slot: Slot, context: Context, value: Value<'a>) -> Result<(), Lost> {
        if self.values.len() >= FOUND_MAX {
            return Err(Lost::TooMuch);
        }
        self.values.insert((slot, context), value);
        Ok(())
    }
}

/// Where the walk is.
#[derive(Clone, Copy)]
struct Place {
    node: usize,
    context: Context,
    /// The innermost element around it.
    element: Option<usize>,
    /// Arrays and objects around it.
    depth: usize,
}

struct Walk<'w, 'a> {
    places: &'w Places,
    scanner: Scanner<'a>,
    found: &'w mut Found<'a>,
}

impl<'a> Walk<'_, 'a> {
    /// Passes a value and the white space behind it. Recursion ends with the pointers, which are short.
    fn value(&mut self, place: Place) -> Result<(), Lost> {
        let from = self.scanner.at();
        if self.is_each(place) && !matches!(self.scanner.peek(), Some(b'[' | b'n')) {
            self.found.has_no_list = true;
        }
        let to = match self.scanner.peek() {
            Some(b'{') if self.places.leads_on(place.node) => self.object(place)?,
            Some(b'[') if self.places.leads_on(place.node) => self.array(place)?,
            _ => from + self.scanner.value(place.depth)?.len(),
        };
        let node = self.places.nodes.get(place.node);
        if let Some(slot) = node.and_then(|node| node.slot) {
            let text = self.scanner.between(from, to);
            self.found.keep(slot, place.context, Value::Json(text))?;
        }
        if node.is_some_and(|node| node.is_item) {
            if self.found.items.len() >= ITEMS_MAX {
                return Err(Lost::TooMuch);
            }
            self.found.items.push(FoundItem { context: place.context, element: place.element });
        }
        Ok(())
    }

    fn is_each(&self, place: Place) -> bool {
        self.places.next(place.node, |step| *step == Step::Each).is_some()
    }

    /// Passes an object; where it ends.
    fn object(&mut self, place: Place) -> Result<usize, Lost> {
        let (depth, mut seen) = (place.depth + 1, Vec::new());
        self.scanner.passes(b'{');
        self.scanner.skip_space();
        if !self.scanner.passes(b'}') {
            loop {
                let name = self.scanner.name()?;
                let (name, _) = schemas::unescape(name);
                match self.places.named(place.node, &name) {
                    // Parsers differ in which of the two counts.
                    Some(node) if seen.contains(&node) => return Err(Lost::Twice),
                    Some(node) => {
                        seen.push(node);
                        self.value(Place { node, depth, ..place })?;
                    }
                    None => {
                        self.scanner.value(depth)?;
                    }
                }
                if self.ends(b'}')? {
                    break;
                }
            }
        }
        Ok(self.end())
    }

    /// Passes an array; where it ends.
    fn array(&mut self, place: Place) -> Result<usize, Lost> {
        self.scanner.passes(b'[');
        let from = self.scanner.at();
        let is_level = self.is_each(place);
        let array = self.found.arrays.len();
        if is_level {
            self.found.arrays.push(Array { from, to: from, around: place.element });
        }
        self.scanner.skip_space();
        let mut to = self.scanner.at();
        if !self.scanner.passes(b']') {
            for index in 0.. {
                self.element(place, index, is_level.then_some(array))?;
                to = self.scanner.at();
                if self.ends(b']')? {
                    break;
                }
            }
        }
        if let Some(array) = self.found.arrays.get_mut(array).filter(|_| is_level) {
            array.to = to;
        }
        Ok(self.end())
    }

    fn element(&mut self, place: Place, index: usize, level: Option<usize>) -> Result<(), Lost> {
        let depth = place.depth + 1;
        let Some(node) = self.places.element(place.node, index) else {
            self.scanner.value(depth)?;
            return Ok(());
        };
        let Some(array) = level else {
            return self.value(Place { node, depth, ..place });
        };
        if self.found.elements.len() >= ELEMENTS_MAX {
            return Err(Lost::TooMuch);
        }
        let (element, from) = (self.found.elements.len(), self.scanner.at());
        self.found.elements.push(Element { array, from, to: from });
        let context = place.context.inner(u32::try_from(index).unwrap_or(u32::MAX));
        self.value(Place { node, context, element: Some(element), depth })?;
        let to = self.scanner.at();
        if let Some(element) = self.found.elements.get_mut(element) {
            element.to = to;
        }
        Ok(())
    }

    /// Passes a comma, or the end.
    fn ends(&mut self, with: u8) -> Result<bool, Lost> {
        if self.scanner.passes(with) {
            return Ok(true);
        }
        if !self.scanner.passes(b',') {
            return Err(Lost::Syntax);
        }
        self.scanner.skip_space();
        Ok(false)
    }

    /// The place behind what was passed last; white space after it is passed, too.
    fn end(&mut self) -> usize {
        let to = self.scanner.at();
        self.scanner.skip_space();
        to
    }
}

#[cfg(test)]
mod tests;
