// Package demo shows in some seconds what wcfs is for.
package demo
