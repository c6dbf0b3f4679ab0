//! Real servers on loopback, each with its own folder and ports, as a cluster called `two`.

use std::{
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
    thread::sleep,
    time::Duration,
};

use tempfile::TempDir;
use tests::tool;

/// How often, and after how long each time, a server is asked whether it is there.
const TRIES: u32 = 600;
const WAIT: Duration = Duration::from_millis(100);

/// Held by who has servers: those of all tests at once would need memory for twenty.
static TURN: Mutex<()> = Mutex::new(());

/// Two servers that know each other.
pub(crate) struct Cluster {
    pub(crate) servers: [Server; 2],
    _folder: TempDir,
    _turn: MutexGuard<'static, ()>,
}

impl Cluster {
    /// Starts both and waits until they answer.
    pub(crate) fn start() -> Self {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = TempDir::new().unwrap();
        let ports = free_ports();
        let shards = [ports[1], ports[3]];
        let servers = [(0, ports[0], ports[1]), (1, ports[2], ports[3])];
        let mut servers = servers.map(|(number, http, native)| {
            let folder = folder.path().join(number.to_string());
            configure(&folder, http, native, shards);
            Server {
                folder,
                http,
                process: None,
            }
        });
        servers.iter_mut().for_each(Server::start);
        Self {
            servers,
            _folder: folder,
            _turn: turn,
        }
    }

    /// The address of a database in both.
    pub(crate) fn url(&self, database: &str) -> String {
        let [one, two] = self.servers.each_ref().map(Server::host);
        format!("clickhouse://{one},{two}/{database}?cluster=two")
    }
}

/// One server, which ends with the value.
pub(crate) struct Server {
    folder: PathBuf,
    http: u16,
    process: Option<Child>,
}

impl Server {
    pub(crate) fn host(&self) -> String {
        format!("127.0.0.1:{}", self.http)
    }

    /// The address of a database in this one alone.
    pub(crate) fn url(&self, database: &str) -> String {
        format!("clickhouse://{}/{database}", self.host())
    }

    /// Starts it, again with what it had, and waits until it answers.
    pub(crate) fn start(&mut self) {
        let output = fs::File::create(self.folder.join("output")).unwrap();
        let process = Command::new(tool("clickhouse-server"))
            .arg("--config-file=config.xml")
            .current_dir(&self.folder)
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .stdin(Stdio::null())
            .spawn();
        self.process = Some(process.unwrap());
        for _ in 0..TRIES {
            if self.post("SELECT 1").is_ok_and(|answer| answer == "1\n") {
                return;
            }
            sleep(WAIT);
        }
        let output = fs::read_to_string(self.folder.join("output"));
        panic!("the server does not answer: {output:?}");
    }

    /// Ends it at once, as a loss of power would.
    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    /// The answer to a statement, which must succeed.
    pub(crate) fn sql(&self, statement: &str) -> String {
        self.post(statement).unwrap()
    }

    /// By hand, so that nothing of what is tested is asked whether it works.
    fn post(&self, statement: &str) -> std::io::Result<String> {
        let mut connection = TcpStream::connect(("127.0.0.1", self.http))?;
        let len = statement.len();
        let head = format!("POST / HTTP/1.0\r\nContent-Length: {len}\r\n\r\n{statement}");
        connection.write_all(head.as_bytes())?;
        let mut answer = String::new();
        connection.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
        match head
            .lines()
            .next()
            .is_some_and(|line| line.contains(" 200 "))
        {
            true => Ok(body.to_owned()),
            false => Err(std::io::Error::other(answer)),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

fn free_ports() -> Vec<u16> {
    let any = || TcpListener::bind("127.0.0.1:0").unwrap();
    let held: Vec<TcpListener> = (0..4).map(|_| any()).collect();
    let port = |listener: &TcpListener| listener.local_addr().unwrap().port();
    held.iter().map(port).collect()
}

fn configure(folder: &Path, http: u16, native: u16, shards: [u16; 2]) {
    fs::create_dir(folder).unwrap();
    let shards = shards.map(|port| {
        format!("<shard><replica><host>127.0.0.1</host><port>{port}</port></replica></shard>")
    });
    let [one, two] = shards;
    let config = format!(
        "<yandex><logger><level>warning</level><console>1</console></logger>
<http_port>{http}</http_port><tcp_port>{native}</tcp_port><listen_host>127.0.0.1</listen_host>
<path>data/</path><tmp_path>tmp/</tmp_path><mark_cache_size>16777216</mark_cache_size>
<users_config>users.xml</users_config><default_profile>default</default_profile>
<default_database>default</default_database>
<remote_servers><two>{one}{two}</two></remote_servers></yandex>"
    );
    let users = "<yandex><profiles><default/></profiles><quotas><default/></quotas><users><default>
<password></password><networks><ip>127.0.0.1</ip></networks><profile>default</profile>
<quota>default</quota></default></users></yandex>";
    fs::write(folder.join("config.xml"), config).unwrap();
    fs::write(folder.join("users.xml"), users).unwrap();
}
