//! What clients of the control socket send.

use lbd::Rehearsal;

/// Requests whose body is left to the fuzzer.
const POSTS: [&str; 4] = ["/v1/ipvsadm", "/v1/plan", "/v1/drain", "/v1/reload"];

/// Requests whose query is.
const GETS: [&str; 4] = ["/v1/conns", "/v1/conns/count", "/v1/why", "/v1/capture"];

/// Any bytes: by the first of them a request as it comes, or what is in one. It is answered or hung up on, and the daemon answers
/// the next one.
pub fn control(data: &[u8]) {
    let Some((choice, rest)) = data.split_first() else {
        return;
    };
    let at = usize::from(choice / 3);
    let rehearsal = Rehearsal::new().expect("an event loop");
    let answer = match choice % 3 {
        0 => rehearsal.answer_cut_short(rest),
        1 => rehearsal.answer(&post(POSTS[at % POSTS.len()], rest)),
        _ => rehearsal.answer(&get(GETS[at % GETS.len()], rest)),
    };
    let answer = answer.expect("a pair of sockets");
    assert!(
        answer.starts_with(b"HTTP/1.") || (choice % 3 == 0 && answer.is_empty()),
        "{}",
        String::from_utf8_lossy(&answer)
    );
    let defect: &[u8] = b"HTTP/1.1 500";
    assert!(!answer.starts_with(defect), "a defect");
    let status = rehearsal.answer(&get("/v1/status", b""));
    let status = status.expect("a pair of sockets");
    assert!(status.starts_with(b"HTTP/1.1 200"), "it lives");
}

fn post(path: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: lbd\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    );
    [head.as_bytes(), body].concat()
}

fn get(path: &str, query: &[u8]) -> Vec<u8> {
    let mut request = format!("GET {path}?");
    for byte in query {
        // What would end the line is written as browsers do.
        match byte {
            b'!'..=b'~' => request.push(char::from(*byte)),
            _ => request += &format!("%{byte:02x}"),
        }
    }
    request += " HTTP/1.1\r\nHost: lbd\r\n\r\n";
    request.into_bytes()
}
