//! Why a request was refused.

use serde::{Deserialize, Serialize};

/// Why a request was refused, in a sentence for people.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Problem {
    /// What is wrong, where, and what is allowed there.
    pub error: String,
}
