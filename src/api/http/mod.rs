//! HTTP: the routes, one file for each group of pages.

mod body;
mod context;
mod health;
mod models;
mod native;
mod problem;

use axum::Router;
use axum::routing::{get, post};

use super::App;
pub(super) use context::Observe;

use problem::Problem;

/// All pages. Routes that the config gives to models are found by the fallback, as they may change while running.
pub fn router(app: App) -> Router {
    Router::new()
        .route("/predict", post(native::predict_default))
        .route("/predict/{model}", post(native::predict))
        .route("/example", get(native::example_default))
        .route("/example/{model}", get(native::example))
        .route("/models", get(models::list))
        .route("/models/{model}", get(models::show))
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(health::metrics))
        .method_not_allowed_fallback(native::method_not_allowed)
        .fallback(native::configured_route)
        .with_state(app)
}
