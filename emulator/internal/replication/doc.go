// Package replication models how a change to the directory spreads: the token
// service and Resource Manager read from several replicas, and each learns of a
// change after a delay of its own. A replica that is asked for a credential it
// does not know yet remembers the miss for minutes, so asking too early makes a
// client wait longer than patience would have.
//
// Source: the FAQ of Azure Workload Identity on AADSTS70021.
package replication
