// Package transfer moves arrays into a database and out of it.
package transfer
