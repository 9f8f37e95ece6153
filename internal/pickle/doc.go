// Package pickle decodes any pickle of a ZODB record as values.
package pickle
