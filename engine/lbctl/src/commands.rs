//! The commands that ask, print the answer and end.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use lb_control::{
    Conn, ConnCount, ConnQuery, Counter, Drain, DrainRequest, Health, HealthQuery, Plan,
    PlanRequest, Service, ServiceChecks, StandbyRequest, Status, Why, WhyQuery,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::arguments::{CaptureArguments, ConnArguments, FlowArguments};
use crate::client::{Client, Error};
use crate::show;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The daemon did not do it.
    #[error(transparent)]
    Daemon(#[from] Error),
    /// A file of ours.
    #[error("{0}: {1}")]
    File(String, io::Error),
    /// Our own output has gone away.
    #[error(transparent)]
    Output(#[from] io::Error),
}

/// The daemon to ask, and how to print what it says.
pub struct Commands {
    pub client: Client,
    pub json: bool,
}

impl Commands {
    pub fn status(&self) -> Result<(), Failure> {
        self.shown("/v1/status", |status: &Status| show::status(status))
    }

    pub fn health(&self, service: Option<String>) -> Result<ExitCode, Failure> {
        let query = HealthQuery { service };
        let health: Health = self.client.get(&with_query("/v1/health", &query))?;
        match self.json {
            true => self.print_json(&health)?,
            false => print(&show::health(&health))?,
        }
        Ok(match health.healthy {
            true => ExitCode::SUCCESS,
            false => ExitCode::FAILURE,
        })
    }

    pub fn standby(&self, undo: bool) -> Result<(), Failure> {
        let health: Health = self.client.post("/v1/standby", &StandbyRequest { undo })?;
        match self.json {
            true => self.print_json(&health),
            false => print(&show::health(&health)),
        }
    }

    pub fn stats(&self, all: bool) -> Result<(), Failure> {
        self.shown("/v1/counters", |counters: &Vec<Counter>| {
            show::counters(counters, all)
        })
    }

    pub fn services(&self) -> Result<(), Failure> {
        self.shown("/v1/services", |services: &Vec<Service>| {
            show::services(services)
        })
    }

    pub fn conns(&self, arguments: ConnArguments) -> Result<(), Failure> {
        let query = ConnQuery {
            state: arguments.state,
            limit: arguments.limit,
            ..flow(arguments.flow)
        };
        if arguments.count {
            let count: ConnCount = self.client.get(&with_query("/v1/conns/count", &query))?;
            return match self.json {
                true => self.print_json(&count),
                false => print(&format!("{}\n", count.count)),
            };
        }
        let mut out = io::BufWriter::new(io::stdout().lock());
        if !self.json {
            out.write_all(show::CONN_TITLE.as_bytes())?;
        }
        let path = with_query("/v1/conns", &query);
        self.client
            .get_lines(&path, &mut |conn: Conn| match self.json {
                true => {
                    serde_json::to_writer(&mut out, &conn)?;
                    out.write_all(b"\n")
                }
                false => out.write_all(show::conn(&conn).as_bytes()),
            })?;
        Ok(out.flush()?)
    }

    pub fn why(&self, client: String, service: &str) -> Result<(), Failure> {
        let (service, protocol) = match service.split_once('/') {
            Some((service, protocol)) => (service, Some(protocol.to_owned())),
            None => (service, None),
        };
        let query = WhyQuery {
            client,
            service: service.to_owned(),
            protocol,
        };
        self.shown(&with_query("/v1/why", &query), |why: &Why| show::why(why))
    }

    pub fn checks(&self, down: bool) -> Result<(), Failure> {
        let mut services: Vec<ServiceChecks> = self.client.get("/v1/checks")?;
        if down {
            for service in &mut services {
                service.servers.retain(|server| server.state == "down");
            }
            services.retain(|service| !service.servers.is_empty());
        }
        match self.json {
            true => self.print_json(&services),
            false => print(&show::checks(&services)),
        }
    }

    pub fn drain(&self, server: Option<String>, undo: bool) -> Result<(), Failure> {
        let Some(server) = server else {
            return self.shown("/v1/drain", |drains: &Vec<Drain>| show::drains(drains));
        };
        let request = DrainRequest { server, undo };
        let drains: Vec<Drain> = self.client.post("/v1/drain", &request)?;
        match self.json {
            true => self.print_json(&drains),
            false => print(&show::drains(&drains)),
        }
    }

    pub fn reload(&self) -> Result<(), Failure> {
        let plan: Plan = self.client.post("/v1/reload", &())?;
        self.print_plan(&plan)
    }

    pub fn plan(&self, file: &Path) -> Result<(), Failure> {
        let name = file.display().to_string();
        let text = fs::read_to_string(file).map_err(|error| Failure::File(name.clone(), error))?;
        let plan: Plan = self.client.post("/v1/plan", &PlanRequest { name, text })?;
        self.print_plan(&plan)
    }

    pub fn save(&self, output: Option<&Path>) -> Result<(), Failure> {
        let text = self.client.get_bytes("/v1/config")?;
        match output {
            None => Ok(io::stdout().lock().write_all(&text)?),
            Some(path) => fs::write(path, &text)
                .map_err(|error| Failure::File(path.display().to_string(), error)),
        }
    }

    pub fn capture(&self, arguments: CaptureArguments) -> Result<(), Failure> {
        let CaptureArguments {
            drops,
            count,
            snap,
            write,
            ..
        } = arguments;
        let flow = flow(arguments.flow);
        let query = lb_control::CaptureQuery {
            protocol: flow.protocol,
            client: flow.client,
            service: flow.service,
            server: flow.server,
            drops,
            count,
            snap: Some(snap),
        };
        let name = write.display().to_string();
        let mut out: Box<dyn Write> = match name.as_str() {
            "-" => Box::new(io::stdout().lock()),
            _ => Box::new(File::create(&write).map_err(|error| Failure::File(name, error))?),
        };
        let path = with_query("/v1/capture", &query);
        self.client.get_stream(&path, &mut |bytes| {
            out.write_all(bytes)?;
            out.flush()
        })?;
        Ok(())
    }

    fn shown<T: DeserializeOwned + Serialize>(
        &self,
        path: &str,
        show: impl Fn(&T) -> String,
    ) -> Result<(), Failure> {
        let answer: T = self.client.get(path)?;
        match self.json {
            true => self.print_json(&answer),
            false => print(&show(&answer)),
        }
    }

    fn print_plan(&self, plan: &Plan) -> Result<(), Failure> {
        match self.json {
            true => self.print_json(plan),
            false => print(&show::plan(plan)),
        }
    }

    fn print_json(&self, answer: &impl Serialize) -> Result<(), Failure> {
        let mut text = serde_json::to_string_pretty(answer).map_err(io::Error::from)?;
        text.push('\n');
        print(&text)
    }
}

fn print(text: &str) -> Result<(), Failure> {
    Ok(io::stdout().lock().write_all(text.as_bytes())?)
}

fn flow(flow: FlowArguments) -> ConnQuery {
    ConnQuery {
        protocol: flow.protocol,
        client: flow.client,
        service: flow.service,
        server: flow.server,
        ..ConnQuery::default()
    }
}

fn with_query(path: &str, query: &impl Serialize) -> String {
    // Flat structs of text and numbers, which this takes.
    let query = serde_urlencoded::to_string(query).expect("flat");
    match query.is_empty() {
        true => path.to_owned(),
        false => format!("{path}?{query}"),
    }
}
