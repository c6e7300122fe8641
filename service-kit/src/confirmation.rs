//! A person's word: every command that changes something either says what it would do, or is told to do it.

/// Whether a person means it.
#[derive(Debug, Clone, Copy, clap::Args)]
#[group(required = true, multiple = false)]
pub struct Confirmation {
    /// Say what would be done; change nothing.
    #[arg(long)]
    dry_run: bool,
    /// Do it.
    #[arg(long)]
    yes: bool,
}

impl Confirmation {
    /// Nothing is to be changed.
    pub const fn is_dry_run(self) -> bool {
        !self.yes
    }
}
