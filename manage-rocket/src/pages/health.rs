//! Whether the program runs, and whether it can do its work.

use rocket::{State, get, http::Status};

use crate::app::App;

/// The program answers.
#[get("/healthcheck/live")]
pub(super) fn live() -> &'static str {
    "ok\n"
}

/// The database answers too.
#[get("/healthcheck/ready")]
pub(super) async fn ready(app: &State<App>) -> (Status, &'static str) {
    match app.db.ping().await {
        Ok(()) => (Status::Ok, "ok\n"),
        Err(error) => {
            log::error!(target: crate::logger::TARGET, "not ready: {error}");
            (Status::ServiceUnavailable, "the database does not answer\n")
        }
    }
}
