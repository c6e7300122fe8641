//! Where the pointers of a hook part: what a walk asks at each step. Knows no document.

use crate::pointer::{Pointer, Step};

/// The number of a pointer among those of a hook.
pub type Slot = usize;

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

    pub(super) fn named(&self, node: usize, name: &str) -> Option<usize> {
        self.next(node, |step| matches!(step, Step::Name(known) if known == name))
    }

    pub(super) fn element(&self, node: usize, index: usize) -> Option<usize> {
        let by_index = || index_text(index).and_then(|text| self.named(node, &text));
        self.next(node, |step| *step == Step::Each).or_else(by_index)
    }

    /// Whether a place names an element by its number beside those that mean each.
    pub fn is_ambiguous(&self) -> bool {
        let is_each = |(step, _): &(Step, usize)| *step == Step::Each;
        self.nodes.iter().any(|node| node.next.len() > 1 && node.next.iter().any(is_each))
    }

    pub(super) fn leads_on(&self, node: usize) -> bool {
        self.nodes.get(node).is_some_and(|node| !node.next.is_empty())
    }

    /// Whether each element of an array there is looked at.
    pub(super) fn is_each(&self, node: usize) -> bool {
        self.next(node, |step| *step == Step::Each).is_some()
    }

    pub(super) fn slot_at(&self, node: usize) -> Option<Slot> {
        self.nodes.get(node)?.slot
    }

    pub(super) fn is_item(&self, node: usize) -> bool {
        self.nodes.get(node).is_some_and(|node| node.is_item)
    }
}

/// Only the first few elements of an array can be named by their number.
fn index_text(index: usize) -> Option<String> {
    (index < 100).then(|| index.to_string())
}
