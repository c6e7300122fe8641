//! Finds in JSON what the pointers of a description point to, in one pass over the text. Nothing else is made of
//! it: what no pointer names costs no memory, however large or deep it is.
//!
//! An element of an array on the way to the items is remembered with its place in the text, so that a document can
//! be cut down to one item ([`Found::cut`]).

mod places;
mod value;

use std::{borrow::Cow, collections::HashMap};

use schemas::scan::{Fault, Scanner};

pub use self::{
    places::{Places, Slot},
    value::{TEXT_BYTES_MAX, Value, WORD_BYTES_MAX},
};
use crate::pointer::STARS_MAX;

/// Items of a request, at most.
pub const ITEMS_MAX: usize = 1_000;
/// Elements of the arrays on the way to the items, at most, the items among them.
pub const ELEMENTS_MAX: usize = 4_000;
/// Values that pointers point to, at most.
pub const FOUND_MAX: usize = 32_000;

/// Why nothing is found in a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Lost {
    #[error("it is not JSON in UTF-8")]
    Syntax,
    #[error("arrays and objects are nested more than {} deep", schemas::DEPTH_MAX)]
    TooDeep,
    #[error("it holds more than is read from one request")]
    TooMuch,
    /// Around the items: within one, it is a matter of that item alone ([`FoundItem::is_ambiguous`]).
    #[error("a member that the hook reads appears twice in one object around its items")]
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
    is_ambiguous: bool,
}

impl FoundItem {
    /// Whether a member that pointers lead to stands twice in one object of it. Parsers differ in which of the two
    /// counts.
    pub const fn is_ambiguous(self) -> bool {
        self.is_ambiguous
    }
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

    /// Reads a JSON text that stands at a place. Whether it makes an item ambiguous that is around it.
    fn read_json(&mut self, places: &Places, node: usize, text: &'a str) -> Result<bool, Lost> {
        let mut walk = Walk { places, scanner: Scanner::new(text), found: self, is_ambiguous: false };
        walk.scanner.skip_space();
        let is_in_item = places.is_item(0);
        walk.value(Place { node, context: Context::default(), element: None, depth: 0, is_in_item })?;
        walk.scanner.skip_space();
        if walk.scanner.peek().is_none() { Ok(walk.is_ambiguous) } else { Err(Lost::Syntax) }
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
        let (mut found, mut seen, mut is_ambiguous) = (Self::default(), Vec::new(), false);
        for (name, text) in fields {
            let Some(node) = places.named(0, name).filter(|node| !seen.contains(node)) else { continue };
            seen.push(node);
            if json.iter().any(|field| field == name) {
                is_ambiguous |= found.read_json(places, node, text)?;
            } else if let Some(slot) = places.slot_at(node) {
                found.values.insert((slot, Context::default()), Value::Text(Cow::Borrowed(text)));
            }
        }
        if places.is_item(0) {
            found.items = vec![FoundItem { context: Context::default(), element: None, is_ambiguous }];
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
    /// It is an item, or within one.
    is_in_item: bool,
}

struct Walk<'w, 'a> {
    places: &'w Places,
    scanner: Scanner<'a>,
    found: &'w mut Found<'a>,
    /// The item that it is in: items do not lie in each other.
    is_ambiguous: bool,
}

impl<'a> Walk<'_, 'a> {
    /// Passes a value and the white space behind it. Recursion ends with the pointers, which are short.
    fn value(&mut self, place: Place) -> Result<(), Lost> {
        let from = self.scanner.at();
        let is_item = self.places.is_item(place.node);
        let place = Place { is_in_item: place.is_in_item || is_item, ..place };
        if self.places.is_each(place.node) && !matches!(self.scanner.peek(), Some(b'[' | b'n')) {
            self.found.has_no_list = true;
        }
        let to = match self.scanner.peek() {
            Some(b'{') if self.places.leads_on(place.node) => self.object(place)?,
            Some(b'[') if self.places.leads_on(place.node) => self.array(place)?,
            _ => from + self.scanner.value(place.depth)?.len(),
        };
        if let Some(slot) = self.places.slot_at(place.node) {
            let text = self.scanner.between(from, to);
            self.found.keep(slot, place.context, Value::Json(text))?;
        }
        if is_item {
            if self.found.items.len() >= ITEMS_MAX {
                return Err(Lost::TooMuch);
            }
            let is_ambiguous = std::mem::take(&mut self.is_ambiguous);
            self.found.items.push(FoundItem { context: place.context, element: place.element, is_ambiguous });
        }
        Ok(())
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
                    Some(node) if seen.contains(&node) => {
                        if !place.is_in_item {
                            return Err(Lost::Twice);
                        }
                        self.is_ambiguous = true;
                        self.scanner.value(depth)?;
                    }
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
        let is_level = self.places.is_each(place.node);
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
        self.value(Place { node, context, element: Some(element), depth, ..place })?;
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
