//! A hook: a description with its secrets, ready to read requests.

use std::fmt;

use schemas::Scheme;

use crate::{
    condition::Check,
    decode::BodyKind,
    description::{AddressField, Answer, Description, Identity},
    field::Maker,
    pointer::{Pointer, Step},
    request::Request,
    setup::Verify,
    signature::Signer,
    time::Clock,
    walk::Places,
};

/// Places that a description may name.
const SLOTS_MAX: usize = 64;
/// Shorter ones can be guessed.
const TOKEN_BYTES_MIN: usize = 8;
/// Addresses and aliases of a client.
const ADDRESSES_MAX: usize = 4;

/// A description whose places are known, with its secrets. Debug prints none of them.
pub struct Hook {
    pub(crate) kind: BodyKind,
    pub(crate) json_fields: Vec<String>,
    pub(crate) places: Places,
    pub(crate) skip: Vec<(String, Check)>,
    pub(crate) source: Maker,
    pub(crate) phone: Option<Maker>,
    pub(crate) addresses: Vec<(String, Maker)>,
    pub(crate) aliases: Vec<(String, Maker)>,
    pub(crate) id: Maker,
    pub(crate) text: Maker,
    pub(crate) time: Option<Clock>,
    identity: Identity,
    signer: Signer,
    verify: Option<(Verify, Vec<String>)>,
    answer: Answer,
}

impl fmt::Debug for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hook").field("kind", &self.kind).field("signer", &self.signer).finish_non_exhaustive()
    }
}

impl Hook {
    /// From a description, the secrets with which requests are signed, and the tokens with which the provider looks
    /// whether the URL is ours.
    ///
    /// # Errors
    /// The first rule that the description or a secret breaks; no error holds a secret.
    pub fn new(
        description: &Description,
        secrets: &[String],
        verify_tokens: &[String],
    ) -> Result<Self, String> {
        let Description { body, items, .. } = description;
        if *body != BodyKind::Form && !description.json_fields.is_empty() {
            return Err("json_fields: only a form has them".to_owned());
        }
        check_stars(description)?;
        let mut places = Places::new(items.as_ref());
        let skip =
            description.skip.iter().map(|skip| Ok((skip.name.clone(), skip.when.compile(&mut places)?)));
        let skip = skip.collect::<Result<Vec<_>, String>>()?;
        let hook = Self {
            kind: *body,
            json_fields: description.json_fields.clone(),
            skip,
            source: description.source.compile("source", &mut places)?,
            phone: description.phone.as_ref().map(|it| it.compile("phone", &mut places)).transpose()?,
            addresses: addresses("address", &description.address, &mut places)?,
            aliases: addresses("alias", &description.alias, &mut places)?,
            id: description.id.compile("id", &mut places)?,
            text: description.text.compile("text", &mut places)?,
            time: description.time.as_ref().map(|it| it.compile(&mut places)).transpose()?,
            identity: description.identity,
            signer: Signer::new(&description.signature, *body, secrets)?,
            verify: verify(description.verify.as_ref(), verify_tokens)?,
            answer: description.answer.clone(),
            places,
        };
        if hook.phone.is_none() && hook.addresses.is_empty() {
            return Err("there must be a phone or an address".to_owned());
        }
        if hook.places.is_ambiguous() {
            return Err("a place names an element by its number, but items means each element".to_owned());
        }
        if hook.places.slots() > SLOTS_MAX {
            return Err(format!("there may be {SLOTS_MAX} different places at most"));
        }
        hook.answer.check()?;
        Ok(hook)
    }

    /// From whom requests are.
    pub const fn signer(&self) -> &Signer {
        &self.signer
    }

    pub const fn identity(&self) -> Identity {
        self.identity
    }

    pub const fn kind(&self) -> BodyKind {
        self.kind
    }

    pub const fn answer(&self) -> &Answer {
        &self.answer
    }

    /// What is answered to a provider that looks whether the URL is ours; `None` if it is none of its business.
    pub fn verify(&self, request: &Request<'_>) -> Option<String> {
        let (verify, tokens) = self.verify.as_ref()?;
        verify.answer(request, tokens)
    }

    /// The names under which what is no message is counted.
    pub fn skip_names(&self) -> impl Iterator<Item = &str> {
        self.skip.iter().map(|(name, _)| name.as_str())
    }
}

fn verify(verify: Option<&Verify>, tokens: &[String]) -> Result<Option<(Verify, Vec<String>)>, String> {
    match (verify, tokens) {
        (None, []) => Ok(None),
        (None, _) => Err("verify_tokens: the provider does not ask for one".to_owned()),
        (Some(_), tokens) if tokens.iter().any(|token| token.len() < TOKEN_BYTES_MIN) => {
            Err(format!("verify_tokens: a token must have {TOKEN_BYTES_MIN} bytes at least"))
        }
        // Until one is agreed on, every look is refused.
        (Some(verify), tokens) => Ok(Some((verify.clone(), tokens.to_vec()))),
    }
}

fn addresses(
    name: &str,
    fields: &[AddressField],
    places: &mut Places,
) -> Result<Vec<(String, Maker)>, String> {
    if fields.len() > ADDRESSES_MAX {
        return Err(format!("{name}: there may be {ADDRESSES_MAX} at most"));
    }
    let compile = |field: &AddressField| {
        let known = Scheme::ALL.into_iter().find(|scheme| scheme.as_str() == field.scheme);
        if !known.is_some_and(|scheme| name == "alias" || scheme.is_identity()) {
            let schemes = Scheme::ALL.map(Scheme::as_str).join(", ");
            return Err(format!("{name}: scheme must be one of {schemes}; username is an alias only"));
        }
        Ok((field.scheme.clone(), field.id.compile(name, places)?))
    };
    fields.iter().map(compile).collect()
}

/// A pointer goes through the arrays on the way to the items and through no other: so it is known which element is
/// meant.
fn check_stars(description: &Description) -> Result<(), String> {
    let items: &[Step] = description.items.as_ref().map_or(&[], Pointer::steps);
    let ends_with_star = items.last().is_none_or(|last| *last == Step::Each);
    if !ends_with_star {
        return Err("items: it must end with *, the element that is an item".to_owned());
    }
    // What is around the items would be a part of each message's record.
    let depth = items.iter().filter(|step| **step == Step::Each).count();
    if let Some(outer) = description.text.from.iter().find(|pointer| pointer.stars() < depth) {
        return Err(format!("text: {outer} must lie in the item"));
    }
    match pointers(description).find(|pointer| !items.starts_with(pointer.up_to_last_star())) {
        Some(pointer) if items.is_empty() => {
            Err(format!("{pointer}: a * needs items, which say where the messages lie"))
        }
        Some(pointer) => Err(format!("{pointer}: its * must be those of items, in their order")),
        None => Ok(()),
    }
}

fn pointers(description: &Description) -> impl Iterator<Item = &Pointer> {
    let Description { skip, source, phone, address, alias, id, text, time, .. } = description;
    let fields = [source, id, text].into_iter().chain(phone.as_ref());
    let fields = fields.chain(address.iter().chain(alias).map(|address| &address.id));
    let of_fields =
        fields.flat_map(|field| field.from.iter().chain(field.when.as_ref().map(|when| &when.at)));
    let of_time =
        time.iter().flat_map(|time| time.from.iter().chain(time.when.as_ref().map(|when| &when.at)));
    of_fields.chain(of_time).chain(skip.iter().map(|skip| &skip.when.at))
}
