// Package history tells which transactions changed a file.
package history
