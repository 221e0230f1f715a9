/** gRPC's side of a contract: messages, numbers, frames and statuses, for both ends of a call. */
export { protoPath, schemaOf } from './descriptors.ts'
export { type Field, importsOf, type Message, type Method, type Model, modelOf, typeText } from './model.ts'
export { enumValueName } from './names.ts'
export { type Rpc, type RpcMethod, rpcOf } from './operations.ts'
export { SERVER_ERRORS } from './status.ts'
