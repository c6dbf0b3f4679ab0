//! Which service a sample belongs to: viewers of fleets open one service at a time.
//!
//! Goes by what the control group and the process say, and asks nobody else.

use std::collections::HashMap;

use crate::cgroup::{container, unit};
use crate::profile::{Profile, Sample};

/// The most services of a window, since the names of processes, which anyone can choose, make services.
const MAX_SERVICES: usize = 500;
/// The service of samples beyond [`MAX_SERVICES`].
const OTHERS: &str = "[others]";

/// Who ran.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Service {
    /// The unit without `.service`, else the short id of the container, else the name of the process.
    pub(super) name: String,
    /// The short id of the container.
    pub(super) container: Option<String>,
    /// The unit of systemd.
    pub(super) unit: Option<String>,
}

/// The samples of a window by service, in the order of arrival.
pub(super) fn by_service(profile: &Profile) -> Vec<(Service, Vec<Sample<'_>>)> {
    let mut places: HashMap<Service, usize> = HashMap::new();
    let mut groups: Vec<(Service, Vec<Sample<'_>>)> = Vec::new();
    for sample in profile.samples() {
        let mut service = of(profile, &sample);
        if groups.len() >= MAX_SERVICES && !places.contains_key(&service) {
            service = others();
        }
        let place = *places.entry(service).or_insert_with_key(|service| {
            groups.push((service.clone(), Vec::new()));
            groups.len() - 1
        });
        groups[place].1.push(sample);
    }
    groups
}

fn of(profile: &Profile, sample: &Sample<'_>) -> Service {
    let labels = sample.labels;
    let path = labels.cgroup.map_or("", |cgroup| profile.text(cgroup));
    let (container, unit) = (container(path), unit(path));
    let service = unit.and_then(|unit| unit.strip_suffix(".service"));
    let name = container.or(service);
    Service {
        name: name.map_or_else(|| of_process(profile.text(labels.process)), str::to_owned),
        container: container.map(str::to_owned),
        unit: unit.map(str::to_owned),
    }
}

/// The name before a `/`, behind which the kernel writes the number of a thread's CPU.
fn of_process(name: &str) -> String {
    let name = name.split('/').next().unwrap_or_default();
    match name {
        "" => "[unnamed]".to_owned(),
        _ => name.to_owned(),
    }
}

fn others() -> Service {
    Service {
        name: OTHERS.to_owned(),
        container: None,
        unit: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::{Labels, Meta, SampleType, Unit};

    fn profile(samples: &[(&str, &str)]) -> Profile {
        let types = vec![SampleType::new("samples", Unit::Count)];
        let mut profile = Profile::new(Meta::default(), types);
        let frame = profile.synthetic("[x]");
        let stack = profile.intern_stack(None, frame);
        for (tid, (cgroup, process)) in (0..).zip(samples) {
            let process = profile.intern_string(process);
            let labels = Labels {
                pid: tid,
                tid,
                process,
                thread: process,
                cgroup: (!cgroup.is_empty()).then(|| profile.intern_string(cgroup)),
                slice: None,
                wait: None,
            };
            profile.add(stack, labels, &[1]);
        }
        profile
    }

    /// The container counts before the unit, the unit before the process; a scope is no service, and a
    /// process without a control group goes by its name.
    #[test]
    fn services_have_the_best_name() {
        let container = "/docker/0123456789abcdef0123456789abcdef";
        let samples = [
            ("/system.slice/nginx.service", "nginx"),
            ("/system.slice/nginx.service/worker", "sh"),
            (container, "java"),
            ("/user.slice/session-3.scope", "vim"),
            ("", "kworker/0:1"),
            ("/", "kworker/1:2"),
            ("", "/0"),
        ];
        let profile = profile(&samples);
        let groups = by_service(&profile);
        let found = groups
            .iter()
            .map(|(service, samples)| (service.name.as_str(), samples.len()));
        let expected = [
            ("nginx", 2),
            ("0123456789ab", 1),
            ("vim", 1),
            ("kworker", 2),
            ("[unnamed]", 1),
        ];
        assert_eq!(found.collect::<Vec<_>>(), expected);
        assert_eq!(groups[0].0.unit.as_deref(), Some("nginx.service"));
        assert_eq!(groups[1].0.container.as_deref(), Some("0123456789ab"));
        assert_eq!(groups[2].0.unit.as_deref(), Some("session-3.scope"));
    }

    /// However many names there are, services stay within the bound and keep every sample.
    #[test]
    fn services_are_bounded() {
        let names: Vec<String> = (0..MAX_SERVICES + 7).map(|n| format!("name{n}")).collect();
        let samples: Vec<(&str, &str)> = names.iter().map(|name| ("", name.as_str())).collect();
        let profile = profile(&samples);
        let groups = by_service(&profile);
        assert_eq!(groups.len(), MAX_SERVICES + 1);
        let (last, samples) = &groups[MAX_SERVICES];
        assert_eq!((last.name.as_str(), samples.len()), (OTHERS, 7));
    }
}
