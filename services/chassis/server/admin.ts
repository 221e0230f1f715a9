import { createServer, type Server } from 'node:http'
import type { Metrics } from '../telemetry/metrics.ts'
import type { Health } from './health.ts'

/** The port of probes and scrapes, apart from the public one so that shedding and the ingress never touch it. */
export function createAdminServer(health: Health, metrics: Metrics): Server {
  return createServer(async (req, res) => {
    const answer = (status: number, body: string, type = 'text/plain; charset=utf-8') => {
      res.writeHead(status, { 'content-type': type, ...(status === 405 && { allow: 'GET, HEAD' }) })
      res.end(body)
    }
    const path = (req.url ?? '').split('?', 1)[0]
    if (req.method !== 'GET' && req.method !== 'HEAD') return answer(405, 'GET only\n')
    try {
      if (path === '/livez') return answer(health.live() ? 200 : 503, 'ok\n')
      if (path === '/readyz') {
        const failing = await health.failing()
        return failing.length === 0 ? answer(200, 'ok\n') : answer(503, `${JSON.stringify({ failing })}\n`, 'application/json')
      }
      if (path === '/metrics') {
        const { contentType, text } = await metrics.expose(req.headers.accept)
        return answer(200, text, contentType)
      }
      answer(404, 'try /livez, /readyz or /metrics\n')
    } catch {
      answer(500, 'failed\n')
    }
  })
}
