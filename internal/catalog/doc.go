// Package catalog finds arrays and files of a database by name.
package catalog
