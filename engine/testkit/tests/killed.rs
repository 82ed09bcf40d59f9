//! What stays of a lab whose process is killed: nothing.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use lb_testkit::netns::{Lab, Plan, Replies, Scratch, Topology, WebServer, available};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Set for the copy of this test that makes the lab and waits to be killed.
const VICTIM: &str = "LB_TESTKIT_VICTIM";

/// When a leftover counts as one that stays.
const LIMIT: Duration = Duration::from_secs(20);

#[test]
fn a_killed_lab_leaves_no_process_no_namespace_and_no_file() {
    if !available() {
        return;
    }
    for signal in [Signal::SIGKILL, Signal::SIGINT] {
        let mut victim = start_victim();
        let folder = read_folder(&mut victim);
        let namespaces = namespaces_below(victim.id());
        assert!(Path::new(&folder).exists());
        // A two-armed lab: client, balancer, three servers, two bridges, the router, and ours.
        assert_eq!(namespaces.len(), 9, "{namespaces:?}");
        let id = i32::try_from(victim.id()).expect("a process id");
        kill(Pid::from_raw(id), signal).expect("it runs");
        assert_eq!(
            victim.wait().expect("it ends").signal(),
            Some(signal as i32)
        );

        let ours = fs::read_link("/proc/self/ns/net")
            .expect("procfs")
            .display()
            .to_string();
        let made: Vec<_> = namespaces
            .into_iter()
            .filter(|namespace| *namespace != ours)
            .collect();
        let users = || {
            processes()
                .into_iter()
                .filter(|(_, in_use)| made.contains(in_use))
                .count()
        };
        let end = Instant::now() + LIMIT;
        while (users() > 0 || Path::new(&folder).exists()) && Instant::now() < end {
            thread::sleep(Duration::from_millis(10));
        }
        assert_eq!(
            users(),
            0,
            "{signal}: processes are left in the lab's namespaces"
        );
        assert!(!Path::new(&folder).exists(), "{signal}: {folder} is left");
    }
}

/// The other half: makes a lab and never ends, if it is told to.
#[test]
fn victim() {
    if std::env::var_os(VICTIM).is_none() {
        return;
    }
    let lab = Lab::new(Plan::new(Topology::TwoArmed, Replies::Direct)).expect("a lab");
    let scratch = Scratch::new().expect("a folder");
    let servers: Vec<_> = lab
        .servers
        .iter()
        .map(|server| WebServer::start(server, server.label(), 80, &scratch).expect("nginx"))
        .collect();
    println!("folder {}", scratch.path().display());
    loop {
        thread::park();
        assert_eq!(servers.len(), 3);
    }
}

fn start_victim() -> Child {
    Command::new(std::env::current_exe().expect("a path"))
        .args(["--exact", "victim", "--nocapture"])
        .env(VICTIM, "1")
        .stdout(Stdio::piped())
        .spawn()
        .expect("this test, again")
}

fn read_folder(victim: &mut Child) -> String {
    let output = victim.stdout.take().expect("stdout is piped");
    let lines = BufReader::new(output).lines().map_while(Result::ok);
    let mut folders = lines.filter_map(|line| Some(line.split_once("folder ")?.1.to_owned()));
    folders.next().expect("the lab comes up")
}

/// The network namespaces of a process's threads.
fn namespaces_below(id: u32) -> Vec<String> {
    let threads = fs::read_dir(format!("/proc/{id}/task"))
        .expect("procfs")
        .flatten();
    let links = threads.filter_map(|thread| fs::read_link(thread.path().join("ns/net")).ok());
    let mut namespaces: Vec<_> = links.map(|link| link.display().to_string()).collect();
    namespaces.sort();
    namespaces.dedup();
    namespaces
}

/// Every process with the network namespace it is in.
fn processes() -> Vec<(String, String)> {
    let entries = fs::read_dir("/proc").expect("procfs").flatten();
    let namespaces = entries.filter_map(|entry| {
        let namespace = fs::read_link(entry.path().join("ns/net")).ok()?;
        Some((
            entry.file_name().display().to_string(),
            namespace.display().to_string(),
        ))
    });
    namespaces.collect()
}
