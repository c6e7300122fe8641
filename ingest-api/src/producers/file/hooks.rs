//! The hooks of a producer, as the producers file writes them.

use hooks::{Description, Hook, presets};
use serde::Deserialize;
use toml::Spanned;

use super::reader::{RawSecret, Reader, is_name};
use crate::producers::entry::{HookEntry, IdentityChange};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawHook {
    name: Spanned<String>,
    preset: Option<String>,
    file: Option<String>,
    #[serde(default)]
    secrets: Vec<RawSecret>,
    #[serde(default)]
    verify_tokens: Vec<RawSecret>,
    #[serde(default)]
    change: toml::Table,
    identity_change: Option<IdentityChange>,
}

impl<V: Fn(&str) -> Option<String>> Reader<'_, V> {
    pub(super) fn hook(&mut self, raw: RawHook) -> Option<HookEntry> {
        let RawHook { name, preset, file, secrets, verify_tokens, change, identity_change } = raw;
        let line = self.line(name.span().start);
        let name = name.into_inner();
        let place = format!("line {line}: hook {name:?}");
        // The key of what is quarantined is a client's id or a hook's name.
        if !is_name(&name) || schemas::ClientId::parse(name.as_bytes()).is_some() {
            self.problems.push(format!("{place}: name must be 1 to 64 of a-z, 0-9, - and _, and not a UUID"));
            return None;
        }
        let secrets = self.texts("secrets", &secrets);
        let tokens = self.texts("verify_tokens", &verify_tokens);
        let description = self.description(preset.as_deref(), file.as_deref(), change);
        let hook = description.and_then(|description| Hook::new(&description, &secrets?, &tokens?));
        let hook = self.keep(&place, hook)?;
        Some(HookEntry { name, line, hook, identity_change })
    }

    fn texts(&mut self, key: &str, raw: &[RawSecret]) -> Result<Vec<String>, String> {
        let texts = raw.iter().map(|raw| self.secret_text(raw).map(|text| text.expose().trim().to_owned()));
        texts.collect::<Result<_, _>>().map_err(|problem| format!("{key}: {problem}"))
    }

    fn description(
        &mut self,
        preset: Option<&str>,
        file: Option<&str>,
        change: toml::Table,
    ) -> Result<Description, String> {
        match (preset, file) {
            (Some(preset), None) => {
                let text = presets::text(preset)
                    .ok_or_else(|| format!("there is no preset {preset:?}: see ingest-api hooks list"))?;
                presets::read(text, change).map_err(|problem| format!("preset {preset:?}: {problem}"))
            }
            (None, Some(file)) => {
                let text = self.files.read(&self.directory.join(file))?;
                presets::read(&text, change).map_err(|problem| format!("{file}: {problem}"))
            }
            _ => Err("must have either preset or file".to_owned()),
        }
    }
}
