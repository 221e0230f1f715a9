// A call by grpc-js and nothing else: both ends of it, for the bench's hop.
import { Client, credentials, Metadata, Server, ServerCredentials } from '@grpc/grpc-js'

const PATH = '/callee.v1.CalleeService/Reserve'

/** @param codec of the messages: { request: { write, read }, answer: { write, read } } */
export function listenGrpcJs({ request, answer }, reserve) {
  const server = new Server()
  const method = {
    path: PATH,
    requestStream: false,
    responseStream: false,
    requestDeserialize: request.read,
    requestSerialize: request.write,
    responseSerialize: answer.write,
    responseDeserialize: answer.read,
  }
  server.addService({ reserve: method }, { reserve: (call, done) => done(null, reserve(call.request)) })
  return new Promise((resolve, reject) =>
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, port) => (error ? reject(error) : resolve(port))),
  )
}

export function callGrpcJs({ request, answer }, port) {
  const client = new Client(`127.0.0.1:${port}`, credentials.createInsecure(), { 'grpc.enable_retries': 0 })
  return message =>
    new Promise((resolve, reject) =>
      client.makeUnaryRequest(PATH, request.write, answer.read, message, new Metadata(), { deadline: Date.now() + 1_000 }, (error, value) =>
        error ? reject(error) : resolve(value),
      ),
    )
}
