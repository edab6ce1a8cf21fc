//! What a server of a cluster is asked: here there is none, and each of these commands says so, in the words by which clients
//! find out that they speak to a server of its own. And REPLICAOF, by which tools make sure that it is nobody's replica.

use crate::kv::commands::args::{self, is_word};
use crate::kv::commands::table::{Command, Deprecated, Flags, Group, Handler};
use crate::kv::errors::{self, CommandResult};
use crate::resp::reply::Reply;

pub const COMMANDS: &[Command] = &[
    Command {
        name: "cluster",
        arity: -2,
        // The flag is for all of them.
        flags: Flags::FIXED,
        group: Group::Cluster,
        since: "3.0.0",
        complexity: "Depends on subcommand.",
        summary: "A container for Redis Cluster commands.",
        handler: Handler::Container,
        subcommands: &[
            Command {
                name: "cluster|addslots",
                arity: -3,
                flags: Flags::ADMIN.or(Flags::STALE).or(Flags::NO_ASYNC_LOADING),
                group: Group::Cluster,
                since: "3.0.0",
                complexity: "O(N) where N is the total number of hash slot arguments",
                summary: "Assigns new hash slots to a node.",
                syntax: "slot [slot ...]",
                handler: Handler::Pure(no_cluster),
                ..Command::ROW
            },
            Command {
                name: "cluster|addslotsrange",
                arity: -4,
                flags: Flags::ADMIN.or(Flags::STALE).or(Flags::NO_ASYNC_LOADING),
                group: Group::Cluster,
                since: "7.0.0",
                complexity: "O(N) where N is the total number of the slots between the start slot and end slot arguments.",
                summary: "Assigns new hash slot ranges to a node.",
                syntax: "start-slot end-slot [start-slot end-slot ...]",
                handler: Handler::Pure(no_cluster),
                ..Command::ROW
            },
            Command {
                name: "cluster|bumpepoch",
                arity: 2,
                flags: Flags::ADMIN.or(Flags::STALE).or(Flags::NO_ASYNC_LOADING),
                group: Group::Cluster,
                since: "3.0.0",
                complexity: "O(1)",
                summary: "Advances the cluster config epoch.",
                handler: Handler::Pure(no_cluster),
                tips: &["nondeterministic_output"],
                ..Command::ROW
            },
            Command {
                name: "cluster|count-failure-reports",
                arity: 3,
                flags: Flags::ADMIN.or(Flags::STALE),
                group: Group::Cluster,
                since: "3.0.0",
                complexity: "O(N) where N is the number of failure reports",
                summary: "Returns the number of active failure reports active for a node.",
                syntax: "node-id",
                handler: Handler::Pure(no_cluster),
                tips: &["nondeterministic_output"],
                ..Command::ROW
            },
            Command {
                name: "cluster|countkeysinslot",
                arity: 3,
                flags: Flags::STALE,
                group: Group::Cluster,
                since: "3.0.0",
                complexity: "O(1)",
                summary: "Returns the number of keys in a hash slot.",
                syntax: "slot",
                handler: Handler::Pure(no_cluster),
                ..Command::ROW
            },
            Command {
                name: "cluster|delslots",
                arity: -3,
                flags: Flags::ADMIN.or(Flags::STALE).or(Flags::NO_ASYNC_LOADING),
                group: Group::Cluster,
                since: "3.0.0",
                complexity: "O(N) where N is the total number of hash slot arguments",
                summary: "Sets hash slots as unbound for a node.",
                syntax: "slot [slot ...]",
                handler: Handler::Pure(no_cluster),
                ..Command::ROW
            },
            Command {
                name: "cluster|delslotsrange",
                arity: -4,
                flags: Flags::ADMIN.or(Flags::STALE).or(Flags::NO_ASYNC_LOADING),
                group: Group::Cluster,
                since: "7.0.0",
                complexity: "O(N) where N is the total number of the slots between the start slot and end slot arguments.",
                summary: "Sets hash slot ranges as unbound for a node.",
                syntax: "start-slot end-slot [start-slot end-slot ...]",
                handler: Handler::Pure(no_cluster),
                ..Command::ROW
            },
            Command {
                name: "cluster|failover",
                arity: -2,
                flags: Flags::ADMIN.or(Flags::STALE).or(Flags::NO_ASYNC_LOADING),
                group: Group::Cluster,
                since: "3.0.0",
                complexity: "O(1)",
                summary: "Forces a replica to perform a manual failover of its master.",
                syntax: "[FORCE | TAKEOVER]",
                handler: Handler::Pure(no_cluster),
                ..Command::ROW
            },
            Command {
                name: "cluster|flushslots",
                arity: 2,
                flags: Flags::ADMIN.or(Flags::STALE).or(Flags::NO_ASYNC_LOADING),
                group: Group::Cluster,
                since: "3.0.0",
                complexity: "O(1)",
                summary: "Deletes all slots information from a node.",
                handler: Handler::Pure(no_cluster),
                ..Command::ROW
            },
            Command {
                name: "cluster|forget",
                arity: 3,
                flags: Flags::ADMIN.or(Flags::STALE).or(Flags::NO_ASYNC_LOADING),
                group: Group::Cluster,
                since: "3.0.0",
                complexity: "O(1)",
                summary: "Removes a node from the nodes table.",
                syntax: "node-id",
                handler: Handler::Pure(no_cluster),
                ..Command::ROW
            },
            Command {
                name: "cluster|getkeysinslot",
                arity: 4,
                flags: Flags::STALE,
                group: Group::Cluster,
                since: "3.0.0",
                complexity: "O(N) where N is the number of requested keys",
                summary: "Returns the key names in a hash slot.",
                syntax: "slot count",
                handler: Handler::Pure(no_cluster),
                tips: &["nondeterministic_output"],
                ..Command::ROW
            },
            Command {
                name: "cluster|help",
                arity: 2,
                flags: Flags::LOADING.or(Flags::STALE),
                group: Group::Cluster,
                since: "5.0.0",
                complexity: "O(1)",
                summary: "Returns helpful text about the different subcommands.",
                handler: Handler::Pure(no_cluster),
                ..Command::ROW
            },
            Command {
                name: "cluster|info",
                arity: 2,
                flags: Flags::STALE,
                group: Group::Cluster,
                since: "3.0.0",
                complexity: "O(1)",
                summary: "Returns information about the state of a node.",
                handler: Handler::Pure(no_cluster),
                tips: &["nondeterministic_output"],
                ..Command::ROW
            },
            Command {
                name: "cluster|keyslot",
                arity: 3,
                flags: Flags::STALE,
                group: Group::Cluster,
                since: "3.0.0",
                complexity: "O(N) where N is the number of bytes in the key",
                summary: "Returns the hash slot for a key.",
                syntax: "key",
                handler: Handler::Pure(no_cluster),
                ..Command::ROW
            },
            Command {
                name: "cluster|links",
                arity: 2,
                flags: Flags::STALE,
                group: Group::Cluster,
                since: "7.0.0",
                complexity: "O(N) where N is the total number of Cluster nodes",
                summary: "Returns a list of all TCP links to and from peer nodes.",
                handler: Handler::Pure(no_cluster),
                tips: &["nondeterministic_output"],
                ..Command::ROW
            },
            Command {
                name: "cluster|meet",
                arity: -4,
                flags: Flags::ADMIN.or(Flags::STALE).or(Flags::NO_ASYNC_LOADING),
                group: Group::Cluster,
                since: "3.0.0",
                complexity: "O(1)",
                summary: "Forces a node to handshake with another node.",
                syntax: "ip port [cluster-bus-port]",
                handler: Handler::Pure(no_cluster),
                history: &[("4.0.0", "Added the optional `cluster_bus_port` argument.")],
                ..Command::ROW
            },
            Command {
                name: "cluster|myid",
                arity: 2,
                flags: Flags::STALE,
                group: Group::Cluster,
                since: "3.0.0",
                complexity: "O(1)",
                summary: "Returns the ID of a node.",
                handler: Handler::Pure(no_cluster),
                ..Command::ROW
            },
            Command {
                name: "cluster|myshardid",
                arity: 2,
                flags: Flags::STALE,
                group: Group::Cluster,
                since: "7.2.0",
                complexity: "O(1)",
                summary: "Returns the shard ID of a node.",
                handler: Handler::Pure(no_cluster),
                tips: &["nondeterministic_output"],
                ..Command::ROW
            },
            Command {
                name: "cluster|nodes",
                arity: 2,
                flags: Flags::STALE,
                group: Group::Cluster,
                since: "3.0.0",
                complexity: "O(N) where N is the total number of Cluster nodes",
                summary: "Returns the cluster configuration for a node.",
                handler: Handler::Pure(no_cluster),
                tips: &["nondeterministic_output"],
                ..Command::ROW
            },
            Command {
                name: "cluster|replicas",
                arity: 3,
                flags: Flags::ADMIN.or(Flags::STALE),
                group: Group::Cluster,
                since: "5.0.0",
                complexity: "O(N) where N is the number of replicas.",
                summary: "Lists the replica nodes of a master node.",
                syntax: "node-id",
                handler: Handler::Pure(no_cluster),
                tips: &["nondeterministic_output"],
                ..Command::ROW
            },
            Command {
                name: "cluster|replicate",
                arity: 3,
                flags: Flags::ADMIN.or(Flags::STALE).or(Flags::NO_ASYNC_LOADING),
                group: Group::Cluster,
                since: "3.0.0",
                complexity: "O(1)",
                summary: "Configure a node as replica of a master node.",
                syntax: "node-id",
                handler: Handler::Pure(no_cluster),
                ..Command::ROW
            },
            Command {
                name: "cluster|reset",
                arity: -2,
                flags: Flags::ADMIN.or(Flags::NOSCRIPT).or(Flags::STALE),
                group: Group::Cluster,
                since: "3.0.0",
                complexity: "O(N) where N is the number of known nodes. The command may execute a FLUSHALL as a side effect.",
                summary: "Resets a node.",
                syntax: "[HARD | SOFT]",
                handler: Handler::Pure(no_cluster),
                ..Command::ROW
            },
            Command {
                name: "cluster|saveconfig",
                arity: 2,
                flags: Flags::ADMIN.or(Flags::STALE).or(Flags::NO_ASYNC_LOADING),
                group: Group::Cluster,
                since: "3.0.0",
                complexity: "O(1)",
                summary: "Forces a node to save the cluster configuration to disk.",
                handler: Handler::Pure(no_cluster),
                ..Command::ROW
            },
            Command {
                name: "cluster|set-config-epoch",
                arity: 3,
                flags: Flags::ADMIN.or(Flags::STALE).or(Flags::NO_ASYNC_LOADING),
                group: Group::Cluster,
                since: "3.0.0",
                complexity: "O(1)",
                summary: "Sets the configuration epoch for a new node.",
                syntax: "config-epoch",
                handler: Handler::Pure(no_cluster),
                ..Command::ROW
            },
            Command {
                name: "cluster|setslot",
                arity: -4,
                flags: Flags::ADMIN.or(Flags::STALE).or(Flags::NO_ASYNC_LOADING),
                group: Group::Cluster,
                since: "3.0.0",
                complexity: "O(1)",
                summary: "Binds a hash slot to a node.",
                syntax: "slot <IMPORTING node-id | MIGRATING node-id | NODE node-id | STABLE>",
                handler: Handler::Pure(no_cluster),
                ..Command::ROW
            },
            Command {
                name: "cluster|shards",
                arity: 2,
                flags: Flags::STALE,
                group: Group::Cluster,
                since: "7.0.0",
                complexity: "O(N) where N is the total number of cluster nodes",
                summary: "Returns the mapping of cluster slots to shards.",
                handler: Handler::Pure(no_cluster),
                tips: &["nondeterministic_output"],
                ..Command::ROW
            },
            Command {
                name: "cluster|slaves",
                arity: 3,
                flags: Flags::ADMIN.or(Flags::STALE),
                group: Group::Cluster,
                since: "3.0.0",
                complexity: "O(N) where N is the number of replicas.",
                summary: "Lists the replica nodes of a master node.",
                syntax: "node-id",
                handler: Handler::Pure(no_cluster),
                tips: &["nondeterministic_output"],
                deprecated: Some(Deprecated { since: "5.0.0", replaced_by: "`CLUSTER REPLICAS`" }),
                ..Command::ROW
            },
            Command {
                name: "cluster|slots",
                arity: 2,
                flags: Flags::STALE,
                group: Group::Cluster,
                since: "3.0.0",
                complexity: "O(N) where N is the total number of Cluster nodes",
                summary: "Returns the mapping of cluster slots to nodes.",
                handler: Handler::Pure(no_cluster),
                tips: &["nondeterministic_output"],
                history: &[("4.0.0", "Added node IDs."), ("7.0.0", "Added additional networking metadata field.")],
                deprecated: Some(Deprecated { since: "7.0.0", replaced_by: "`CLUSTER SHARDS`" }),
                ..Command::ROW
            },
        ],
        ..Command::ROW
    },
    Command {
        name: "asking",
        arity: 1,
        flags: Flags::FIXED.or(Flags::FAST).or(Flags::ACL_CONNECTION),
        group: Group::Cluster,
        since: "3.0.0",
        complexity: "O(1)",
        summary: "Signals that a cluster client is following an -ASK redirect.",
        handler: Handler::Pure(no_cluster),
        ..Command::ROW
    },
    Command {
        name: "readonly",
        arity: 1,
        flags: Flags::FIXED.or(Flags::LOADING).or(Flags::STALE).or(Flags::FAST).or(Flags::ACL_CONNECTION),
        group: Group::Cluster,
        since: "3.0.0",
        complexity: "O(1)",
        summary: "Enables read-only queries for a connection to a Redis Cluster replica node.",
        handler: Handler::Pure(no_cluster),
        ..Command::ROW
    },
    Command {
        name: "readwrite",
        arity: 1,
        flags: Flags::FIXED.or(Flags::LOADING).or(Flags::STALE).or(Flags::FAST).or(Flags::ACL_CONNECTION),
        group: Group::Cluster,
        since: "3.0.0",
        complexity: "O(1)",
        summary: "Enables read-write queries for a connection to a Redis Cluster replica node.",
        handler: Handler::Pure(no_cluster),
        ..Command::ROW
    },
    Command {
        name: "replicaof",
        arity: 3,
        flags: Flags::ADMIN.or(Flags::NOSCRIPT).or(Flags::STALE).or(Flags::NO_ASYNC_LOADING),
        group: Group::Server,
        since: "5.0.0",
        complexity: "O(1)",
        summary: "Configures a server as replica of another, or promotes it to a master.",
        syntax: "<host port | NO ONE>",
        handler: Handler::Pure(replicaof),
        ..Command::ROW
    },
    Command {
        name: "slaveof",
        arity: 3,
        flags: Flags::ADMIN.or(Flags::NOSCRIPT).or(Flags::STALE).or(Flags::NO_ASYNC_LOADING),
        group: Group::Server,
        since: "1.0.0",
        complexity: "O(1)",
        summary: "Sets a Redis server as a replica of another, or promotes it to being a master.",
        syntax: "<host port | NO ONE>",
        handler: Handler::Pure(replicaof),
        deprecated: Some(Deprecated { since: "5.0.0", replaced_by: "`REPLICAOF`" }),
        ..Command::ROW
    },
];

fn no_cluster(_args: &[&[u8]]) -> CommandResult {
    Err(errors::NO_CLUSTER.into())
}

/// It is nobody's replica already; it can't become one.
fn replicaof(args: &[&[u8]]) -> CommandResult {
    if is_word(args[1], "no") && is_word(args[2], "one") {
        return Ok(Reply::Ok);
    }
    match args::integer_or(args[2], errors::MASTER_PORT)? {
        0..=65_535 => Err(errors::NO_REPLICATION.into()),
        _ => Err(errors::MASTER_PORT.into()),
    }
}
