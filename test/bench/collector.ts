// A sink for traces, a process of its own: takes whatever is posted to /NAME/v1/traces and counts its spans. GET / tells the counts by
// name.
import { createServer } from 'node:http'

const MARK = '"spanId"'
const spans: Record<string, number> = {}

createServer((req, res) => {
  if (req.method === 'GET') {
    res.end(JSON.stringify(spans))
    return
  }
  const [, name] = /^\/([^/]+)\/v1\/traces$/.exec(req.url ?? '') ?? []
  req.on('data', (chunk: Buffer) => {
    let count = 0
    for (let at = chunk.indexOf(MARK); at >= 0; at = chunk.indexOf(MARK, at + MARK.length)) count++
    if (name) spans[decodeURIComponent(name)] = (spans[decodeURIComponent(name)] ?? 0) + count
  })
  req.on('end', () => res.writeHead(name ? 200 : 404, { 'content-type': 'application/json' }).end('{}'))
}).listen(Number(process.env.PORT), '127.0.0.1')
