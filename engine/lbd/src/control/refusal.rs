//! Refusals as answers.

use std::fmt;

use axum::Json;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::response::{IntoResponse, Response};
use hyper::StatusCode;
use hyper::http::request::Parts;
use lb_control::Problem;
use serde::de::DeserializeOwned;

/// A request that is not done, and why.
#[derive(Debug)]
pub struct Refused {
    status: StatusCode,
    problem: Problem,
}

impl Refused {
    pub fn new(status: StatusCode, error: impl Into<String>) -> Refused {
        Refused {
            status,
            problem: Problem {
                error: error.into(),
            },
        }
    }
}

impl Refused {
    /// A value that is none of those allowed.
    pub fn value(key: &str, value: &str, allowed: &impl fmt::Display) -> Refused {
        Refused::new(
            StatusCode::BAD_REQUEST,
            format!("{key}: {value}, {allowed}"),
        )
    }
}

/// Has something done on a thread where it may wait, and answers with what comes of it.
pub async fn wait_for<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<Json<T>, Refused> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map(Json).map_err(|_| {
        Refused::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "a defect in lbd, see its log",
        )
    })
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        (self.status, Json(self.problem)).into_response()
    }
}

/// A request's body, of which a fault is told as every other one is.
pub struct Body<T>(pub T);

/// A request's query, likewise.
pub struct Query<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Query<T>, Refused> {
        match axum::extract::Query::from_request_parts(parts, state).await {
            Ok(axum::extract::Query(query)) => Ok(Query(query)),
            Err(fault) => Err(Refused::new(fault.status(), fault.body_text())),
        }
    }
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Refused;

    async fn from_request(request: Request, state: &S) -> Result<Body<T>, Refused> {
        match Json::from_request(request, state).await {
            Ok(Json(body)) => Ok(Body(body)),
            Err(fault) => Err(Refused::new(fault.status(), fault.body_text())),
        }
    }
}
