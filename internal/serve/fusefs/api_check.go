package fusefs

import "github.com/hanwen/go-fuse/v2/fs"

// The FUSE library finds handlers by optional interfaces, so a misspelt method
// would silently not be called. Each line here is a promise to the compiler.
var (
	_ fs.NodeOnAdder   = (*rootNode)(nil)
	_ fs.NodeGetattrer = (*rootNode)(nil)
	_ fs.NodeLookuper  = (*rootNode)(nil)
	_ fs.NodeReaddirer = (*rootNode)(nil)

	_ fs.NodeOnAdder   = (*dotwcfsNode)(nil)
	_ fs.NodeGetattrer = (*dotwcfsNode)(nil)
	_ fs.NodeLookuper  = (*dotwcfsNode)(nil)
	_ fs.NodeReaddirer = (*dotwcfsNode)(nil)

	_ fs.NodeOnAdder   = (*headNode)(nil)
	_ fs.NodeGetattrer = (*headNode)(nil)
	_ fs.NodeLookuper  = (*headNode)(nil)
	_ fs.NodeReaddirer = (*headNode)(nil)

	_ fs.NodeGetattrer = (*revNode)(nil)
	_ fs.NodeLookuper  = (*revNode)(nil)
	_ fs.NodeReaddirer = (*revNode)(nil)

	_ fs.NodeGetattrer = (*dirNode)(nil)
	_ fs.NodeLookuper  = (*dirNode)(nil)
	_ fs.NodeReaddirer = (*dirNode)(nil)

	_ fs.NodeGetattrer = (*revFileNode)(nil)
	_ fs.NodeOpener    = (*revFileNode)(nil)
	_ fs.NodeReader    = (*revFileNode)(nil)

	_ fs.NodeGetattrer = (*headDirNode)(nil)
	_ fs.NodeLookuper  = (*headDirNode)(nil)
	_ fs.NodeReaddirer = (*headDirNode)(nil)

	_ fs.NodeGetattrer = (*headFileNode)(nil)
	_ fs.NodeOpener    = (*headFileNode)(nil)
	_ fs.NodeReader    = (*headFileNode)(nil)

	_ fs.NodeOnAdder   = (*debugNode)(nil)
	_ fs.NodeGetattrer = (*debugNode)(nil)
	_ fs.NodeLookuper  = (*debugNode)(nil)
	_ fs.NodeReaddirer = (*debugNode)(nil)

	_ fs.NodeGetattrer = (*watchNode)(nil)
	_ fs.NodeOpener    = (*watchNode)(nil)
	_ fs.FileReader    = (*watchHandle)(nil)
	_ fs.FileWriter    = (*watchHandle)(nil)
	_ fs.FileReleaser  = (*watchHandle)(nil)

	_ fs.FileReader = emptyHandle{}

	_ fs.NodeGetattrer = (*traceNode)(nil)
	_ fs.NodeOpener    = (*traceNode)(nil)
	_ fs.FileReader    = (*traceHandle)(nil)
	_ fs.FileReleaser  = (*traceHandle)(nil)

	_ fs.NodeGetattrer = (*streamNode)(nil)
	_ fs.NodeOpener    = (*streamNode)(nil)
	_ fs.FileReader    = (*streamHandle)(nil)
	_ fs.FileReleaser  = (*streamHandle)(nil)

	_ fs.NodeGetattrer = (*snapshotNode)(nil)
	_ fs.NodeOpener    = (*snapshotNode)(nil)
	_ fs.FileReader    = (*snapshotHandle)(nil)
	_ fs.FileReleaser  = (*snapshotHandle)(nil)

	_ fs.NodeGetattrer = (*staticFile)(nil)
	_ fs.NodeOpener    = (*staticFile)(nil)
	_ fs.NodeReader    = (*staticFile)(nil)
	_ fs.FileReleaser  = openHandle{}

	_ fs.NodeGetattrer = (*dynamicFile)(nil)
	_ fs.NodeOpener    = (*dynamicFile)(nil)
	_ fs.NodeReader    = (*dynamicFile)(nil)

	_ fs.NodeSetattrer = readOnlyFile{}
	_ fs.NodeStatfser  = readOnlyFile{}
	_ fs.NodeMkdirer   = readOnlyDir{}
	_ fs.NodeMknoder   = readOnlyDir{}
	_ fs.NodeSymlinker = readOnlyDir{}
	_ fs.NodeLinker    = readOnlyDir{}
	_ fs.NodeCreater   = readOnlyDir{}
	_ fs.NodeRenamer   = readOnlyDir{}
	_ fs.NodeUnlinker  = readOnlyDir{}
	_ fs.NodeRmdirer   = readOnlyDir{}
)
