//! The programs of a Telex, and what starts and ends them.

use std::{path::Path, sync::PoisonError, time::Duration};

use anyhow::{Context as _, Result};
use dev_env::{ports::Port, programs::Running};

use super::{SESSION, World};

/// Processors of a Telex that nothing has happened to.
const PROCESSORS: usize = 2;
/// How long the group may take to give each processor a part.
const SPREAD_WITHIN: Duration = Duration::from_secs(40);

impl World {
    /// From now on programs are started from another directory, as after an upgrade. What runs goes on.
    pub fn start_from(&mut self, binaries: &Path) {
        binaries.clone_into(&mut self.programs.binaries);
    }

    /// Starts an API and sends requests to it as well.
    pub fn api(&mut self, port: Port) -> Result<()> {
        self.started += 1;
        let name = format!("ingest-api-{}", self.started);
        let mut programs = self.programs.clone();
        programs.kafka.clone_from(&self.site.for_apis);
        let settings = self.options.variant.api_settings(&self.options.directory);
        let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
        let mut api = programs.ingest_api(&self.options.directory, &name, port, &settings)?;
        api.wait_until_ready()?;
        self.apis.push(api);
        self.retarget();
        Ok(())
    }

    /// Requests go to the APIs that there are.
    pub fn retarget(&self) {
        let addresses = self.apis.iter().filter_map(|api| api.address).collect();
        *self.targets.lock().unwrap_or_else(PoisonError::into_inner) = addresses;
    }

    /// Starts a processor that nobody waits for; says its name.
    pub fn processor(&mut self, failpoints: &str) -> Result<String> {
        self.started += 1;
        let name = format!("processor-{}", self.started);
        let mut programs = self.programs.clone();
        programs.database_url = format!("{}?options[torture.process]={name}", programs.database_url);
        let mut settings =
            vec![format!("--group={}", self.topic), format!("--session-timeout-ms={}", SESSION.as_millis())];
        settings.extend(self.options.variant.processor_settings());
        let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
        // One lane, so that nothing else is under way while it is held.
        let lanes = if failpoints.is_empty() { "2" } else { "1" };
        // Each second one copies whatever it has: so little at once would never be copied.
        let copied = if self.started.is_multiple_of(2) { "1" } else { "1000" };
        let environment =
            [("FAILPOINTS", failpoints), ("PROCESSOR_LANES", lanes), ("PROCESSOR_COPY_RECORDS_MIN", copied)];
        let processor = programs.processor_with(&self.options.directory, &name, &settings, &environment)?;
        self.processors.insert(name.clone(), processor);
        Ok(name)
    }

    pub fn running(&mut self, name: &str) -> Result<&mut Running> {
        self.processors.get_mut(name).with_context(|| format!("{name} does not run"))
    }

    /// Brings the Telex to what it is without a fault: one API, two processors that are not held anywhere.
    pub fn complete(&mut self) -> Result<()> {
        self.processors.retain(|_, processor| processor.server.is_running());
        while self.processors.len() < PROCESSORS {
            self.processor("")?;
        }
        self.apis.retain(|api| api.server.is_running());
        if self.apis.is_empty() {
            self.api(Port::Free)?;
        }
        self.retarget();
        Ok(())
    }

    /// Waits until every processor has taken a partition.
    pub fn spread(&mut self) -> Result<()> {
        self.wait("every processor to own a partition", SPREAD_WITHIN, |world| {
            let owners = world.owners()?;
            Ok(world.processors.keys().all(|name| owners.values().any(|owner| owner == name)))
        })?;
        Ok(())
    }

    /// Stops processors in an orderly way until `count` are left.
    pub fn keep_processors(&mut self, count: usize) -> Result<()> {
        while self.processors.len() > count
            && let Some((_, mut processor)) = self.processors.pop_last()
        {
            processor.stop()?;
        }
        Ok(())
    }
}
