//! What the path of a control group says of who put a process there: the container, and the unit of
//! systemd.
//!
//! Knows the layouts that container runtimes and systemd document, and looks at nothing but the path.

/// How many characters of a container's id are kept, as `docker ps` shows it.
const SHORT_ID: usize = 12;
/// The fewest hexadecimal digits that a container's id has.
const LONG_ID: usize = 32;

/// The short id of the container that a control group belongs to: the last part of the path that has a
/// long hexadecimal id, whatever the runtime puts around it (`docker-….scope`, `cri-containerd-….scope`,
/// `libpod-….scope`, `kubepods/…/…`).
pub fn container(path: &str) -> Option<&str> {
    path.rsplit('/').find_map(id_in)
}

/// The unit of systemd: the last part of the path that is a service or a scope.
pub fn unit(path: &str) -> Option<&str> {
    let mut parts = path.rsplit('/');
    parts.find(|part| part.ends_with(".service") || part.ends_with(".scope"))
}

fn id_in(part: &str) -> Option<&str> {
    let part = part.strip_suffix(".scope").unwrap_or(part);
    let id = part.rsplit(['-', ':']).next()?;
    let is_id = id.len() >= LONG_ID && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_id.then(|| &id[..SHORT_ID])
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    /// The id is found in what each runtime writes, and nowhere else.
    #[test]
    fn containers_are_known_by_their_id() {
        for path in [
            format!("/system.slice/docker-{ID}.scope"),
            format!("/docker/{ID}"),
            format!("/kubepods.slice/kubepods-pod1.slice/cri-containerd-{ID}.scope"),
            format!("/machine.slice/libpod-{ID}.scope/container"),
            format!("/kubepods/besteffort/pod1/{ID}"),
            format!("/system.slice/containerd.service/kubepods-pod1.slice:cri-containerd:{ID}"),
        ] {
            assert_eq!(container(&path), Some("0123456789ab"), "{path}");
        }
        for path in [
            "",
            "/",
            "/system.slice/cron.service",
            "/user.slice/deadbeef",
        ] {
            assert_eq!(container(path), None, "{path}");
        }
    }

    /// A unit is the innermost service or scope.
    #[test]
    fn units_are_services_and_scopes() {
        assert_eq!(unit("/system.slice/cron.service"), Some("cron.service"));
        let session = "/user.slice/user-1.slice/session-3.scope";
        assert_eq!(unit(session), Some("session-3.scope"));
        assert_eq!(
            unit("/system.slice/nginx.service/worker"),
            Some("nginx.service")
        );
        assert_eq!(unit("/user.slice"), None);
    }
}
