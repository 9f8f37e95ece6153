// Package ndarray knows shapes and dtypes of arrays.
package ndarray
