//! Prints the contract: `make openapi` writes it to `ingest-api/openapi.json`.
#![expect(clippy::print_stdout, reason = "this is the output")]

fn main() {
    print!("{}", ingest_api::openapi::text());
}
