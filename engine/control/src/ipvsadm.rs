//! `POST /v1/ipvsadm`: a command line of ipvsadm, done by the daemon.

use serde::{Deserialize, Serialize};

/// A command line of ipvsadm.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct IpvsadmRequest {
    /// The words after the program's name.
    pub arguments: Vec<String>,
    /// What the command reads, if it is `-R`.
    #[serde(default)]
    pub input: String,
}

/// A line of the answer. They come as the command goes on, one JSON object a line; the exit code is the last. Without
/// one the command did not end.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum IpvsadmLine {
    /// What ipvsadm writes to its standard output.
    Output(String),
    /// What it writes to its standard error.
    Errors(String),
    /// What it ends with.
    Exit(u8),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_and_answers_read_as_documented() {
        let request: IpvsadmRequest =
            serde_json::from_str(r#"{"arguments": ["-L", "-n"]}"#).expect("input may be left out");
        assert_eq!((request.arguments.len(), request.input.as_str()), (2, ""));
        assert!(
            serde_json::from_str::<IpvsadmRequest>(r#"{"arguments": [], "stdin": ""}"#).is_err()
        );
        let line = |line| serde_json::to_string(&line).expect("plain data");
        assert_eq!(
            line(IpvsadmLine::Output("x\n".into())),
            r#"{"output":"x\n"}"#
        );
        assert_eq!(line(IpvsadmLine::Exit(255)), r#"{"exit":255}"#);
    }
}
