// Package operate tests a server as its operator meets it: start and stop in every state,
// servers of other users, rights, metrics, traces, logs, health, and the installation.
package operate
