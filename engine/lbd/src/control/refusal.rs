//! Refusals as answers.

use axum::Json;
use axum::extract::{FromRequest, Request};
use axum::response::{IntoResponse, Response};
use hyper::StatusCode;
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

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        (self.status, Json(self.problem)).into_response()
    }
}

/// A request's body, of which a fault is told as every other one is.
pub struct Body<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Refused;

    async fn from_request(request: Request, state: &S) -> Result<Body<T>, Refused> {
        match Json::from_request(request, state).await {
            Ok(Json(body)) => Ok(Body(body)),
            Err(fault) => Err(Refused::new(fault.status(), fault.body_text())),
        }
    }
}
