//! P7: every change of a progress row, noted by a trigger that the harness installs. Each step starts where
//! the one before ended, counts what it moved, and is made by the process that took the partition last.

use std::collections::BTreeMap;

use anyhow::Result;

use super::{Violation, tables::ProgressRow};
use crate::wire::postgres::Connection;

/// The trigger. A processor names itself in the setting `torture.process` of its connections.
pub const AUDIT: &str = "
create table torture_audit (
    seq         bigserial primary key,
    partition   integer not null,
    from_offset bigint  not null,
    to_offset   bigint  not null,
    from_epoch  bigint  not null,
    to_epoch    bigint  not null,
    counted     bigint  not null,
    process     text    not null
);
create function torture_audit() returns trigger language plpgsql as $$
begin
    insert into torture_audit (partition, from_offset, to_offset, from_epoch, to_epoch, counted, process)
    values (new.partition, old.next_offset, new.next_offset, old.owner_epoch, new.owner_epoch,
            new.messages + new.duplicates + new.commands + new.dead_letters + new.control
                - old.messages - old.duplicates - old.commands - old.dead_letters - old.control,
            coalesce(current_setting('torture.process', true), ''));
    return new;
end $$;
create trigger torture_audit after update on partition_progress for each row execute function torture_audit();";

struct Chain {
    next: i64,
    epoch: i64,
    owner: String,
}

/// Follows the chain of each partition.
pub fn check(progress: &BTreeMap<i32, ProgressRow>, database: &mut Connection) -> Result<Vec<Violation>> {
    let steps: Vec<(i32, i64, i64, i64, i64, i64, String)> = database.rows(
        "select json_build_array(partition, from_offset, to_offset, from_epoch, to_epoch, counted, process)
         from torture_audit order by seq",
    )?;
    let mut chains: BTreeMap<i32, Chain> = progress
        .iter()
        .map(|(partition, row)| (*partition, Chain { next: row.birth, epoch: 0, owner: String::new() }))
        .collect();
    let mut violations = Vec::new();
    for (partition, from, to, from_epoch, to_epoch, counted, process) in steps {
        let Some(chain) = chains.get_mut(&partition) else { continue };
        let mut require = |holds: bool, what: &str| {
            if !holds {
                let step = format!("{from} to {to} in epoch {to_epoch} by {process}");
                violations.push(Violation::new("P7", format!("partition {partition}, {step}: {what}")));
            }
        };
        require((from, from_epoch) == (chain.next, chain.epoch), "does not continue the step before");
        if to_epoch == from_epoch {
            require(to > from, "does not advance");
            require(counted == to - from, "does not count what it moves");
            require(process == chain.owner, "is not by the owner: a zombie has committed");
        } else {
            require(to_epoch == from_epoch + 1 && to == from && counted == 0, "is no takeover");
            chain.owner = process;
        }
        (chain.next, chain.epoch) = (to, to_epoch);
    }
    for (partition, chain) in chains {
        if progress.get(&partition).is_some_and(|row| row.next != chain.next) {
            violations.push(Violation::new("P7", format!("partition {partition}: the chain ends elsewhere")));
        }
    }
    Ok(violations)
}
