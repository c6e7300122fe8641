//! Ends the guarded process groups when this process is gone, whatever the reason.
//!
//! The guardian is a shell that reads from a pipe whose other end only this process holds. The
//! pipe ends with the process, also under `kill -9` and when a test binary exits without running
//! destructors; then the guardian ends what is still guarded. (Linux's parent-death signal would
//! not do: it fires when the *thread* that started the child ends, and tests start servers from
//! short-lived threads.) It owns nothing else and never acts while this process lives.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::{ChildStdin, Command, Stdio};
use std::sync::{Mutex, PoisonError};

/// SIGTERM first, so that an interrupted compiler does not leave half an object file that the
/// next build takes for a whole one. The leader's own group is not enough for PostgreSQL, whose
/// children leave it, but these end by themselves when their parent is gone.
const SCRIPT: &str = r#"
guarded=" "
while read -r action group; do
  case "$action" in
    guard) guarded="$guarded$group " ;;
    release) guarded="${guarded%% $group *} ${guarded#* $group }" ;;
  esac
done
[ -n "${guarded## }" ] || exit 0
for signal in TERM KILL; do
  for group in $guarded; do kill -s "$signal" -- "-$group" 2>/dev/null; done
  [ "$signal" = KILL ] || sleep 1
done
"#;

static PIPE: Mutex<Option<ChildStdin>> = Mutex::new(None);

pub(super) fn guard(leader: u32) {
    tell("guard", leader);
}

/// Call it only for a guarded group.
pub(super) fn release(leader: u32) {
    tell("release", leader);
}

/// A guardian that cannot be started or has been killed is not an error: the other two layers
/// remain (see [`super`]).
fn tell(action: &str, leader: u32) {
    let mut pipe = PIPE.lock().unwrap_or_else(PoisonError::into_inner);
    if pipe.is_none() {
        *pipe = start();
    }
    let told = pipe.as_mut().map(|pipe| writeln!(pipe, "{action} {leader}"));
    if let Some(Err(_)) = told {
        *pipe = None;
    }
}

fn start() -> Option<ChildStdin> {
    let mut command = Command::new("sh");
    command.args(["-c", SCRIPT, "telex-guardian"]).current_dir("/").process_group(0);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().ok()?.stdin.take()
}
