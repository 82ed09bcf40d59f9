//! What holds for all services: switches, and the marks of packets.

use lb_model::{IpvsSettings, MarkRule, SchedulerFlags, VirtualService};
use lb_schedulers::SchedulerOptions;

use super::{ServiceTable, with_settings};

impl ServiceTable {
    /// The switches.
    pub fn settings(&self) -> &IpvsSettings {
        &self.settings
    }

    /// The mark rules.
    pub fn marks(&self) -> &[MarkRule] {
        &self.marks
    }

    /// Other switches and mark rules.
    pub fn set_settings(&mut self, settings: IpvsSettings, marks: Vec<MarkRule>) {
        let expirations = |table: &ServiceTable| {
            let IpvsSettings {
                lblc_expiration,
                lblcr_expiration,
                ..
            } = table.settings;
            (lblc_expiration, lblcr_expiration)
        };
        let before = expirations(self);
        (self.settings, self.marks) = (settings, marks.into());
        if expirations(self) != before {
            let services = self.services.iter();
            let informed = services.filter_map(|service| self.informed(service));
            let informed: Vec<VirtualService> = informed.collect();
            for service in informed {
                self.services.put(service);
            }
        }
    }

    /// The service, whose scheduler is told what the switches say now; it keeps its state.
    fn informed(&self, service: &VirtualService) -> Option<VirtualService> {
        let mut settings = service.settings().clone();
        let options = self.options(settings.scheduler_flags);
        settings.scheduler = (self.registry).scheduler(&settings.scheduler_name, &options)?;
        Some(with_settings(service, settings))
    }

    /// What schedulers with these flags are told.
    pub(super) fn options(&self, flags: SchedulerFlags) -> SchedulerOptions {
        SchedulerOptions {
            fallback: flags.contains(SchedulerFlags::FIRST),
            port: flags.contains(SchedulerFlags::SECOND),
            lblc_expiration: self.settings.lblc_expiration,
            lblcr_expiration: self.settings.lblcr_expiration,
        }
    }
}
