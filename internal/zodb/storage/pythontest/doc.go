// Package pythontest is ZODB in Python, for tests: applications that commit to what an
// application can commit to, and servers.
//
// A Venv is a Python with packages. A Host is a process of it that has imported what is
// needed, and forks Processes. A Writer is such a process: an application that does what
// it is told, one Order after the other. Hosts has all Hosts of a test binary, which ends
// them in TestMain. All of them also end with the test binary, however that ends.
package pythontest
